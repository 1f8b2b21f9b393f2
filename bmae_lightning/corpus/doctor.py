"""The doctor (`corpus.check=true`): reads a collection once and tells everything that is wrong or odd about it.

Counts against the published ones, broken lines, encoding, duplicates, disk; nothing is tokenised.
"""

import re
import shutil
import tempfile
from collections import Counter, deque
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any, NamedTuple

from bmae_lightning.corpus.beir import BeirCorpus
from bmae_lightning.corpus.builtin.collection import BuiltinCorpus
from bmae_lightning.corpus.check import Check
from bmae_lightning.corpus.collection import Collection
from bmae_lightning.corpus.document_order import DocumentOrder, Order
from bmae_lightning.corpus.id_set import IdSet
from bmae_lightning.corpus.lines import BrokenLine, Problems
from bmae_lightning.corpus.records import Passage, Query
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.process import process_rank
from bmae_lightning.runtime.progress import track
from bmae_lightning.runtime.table import Column, Table, print_tables

OK, WARNING, ERROR = "ok", "warning", "ERROR"
PIECES_PER_WORD = 1.4
"""Word pieces of a blank-separated English word, roughly; only for the estimate of disk space."""
BYTES_PER_PIECE, BYTES_PER_OFFSET = 2, 8
"""What a token store takes for a word piece (of a vocabulary below 65,536) and for a passage."""

_TAIL = (
    "[\x80-\xbf\u20ac\u201a\u0192\u201e\u2026\u2020\u2021\u02c6\u2030\u0160\u2039\u0152\u017d\u2018"
    "\u2019\u201c\u201d\u2022\u2013\u2014\u02dc\u2122\u0161\u203a\u0153\u017e\u0178]"
)
_DOUBLE = re.compile(f"[\xc2-\xdf]{_TAIL}|[\xe0-\xef]{_TAIL}{{2}}|[\xf0-\xf4]{_TAIL}{{3}}")
"""UTF-8 that was read as Latin-1 or Windows-1252 and written as UTF-8 once more: é as Ã©, ’ as â€™."""
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ufffd]")
"""Control characters, and the mark of a character that was lost."""


class Finding(NamedTuple):
    """One row of the table: what was looked at, what there is, what was published, and how bad that is."""

    what: str
    found: int | str
    published: int | str = ""
    grade: str = OK
    note: str = ""


class Examination(Check):
    """A check that goes on after problems and looks at the texts, too."""

    def __init__(
        self, tolerate: tuple[str, ...], advance: Callable[[int], None] = lambda n: None,
        see: Callable[[Passage | Query], None] | None = None,
    ) -> None:  # fmt: skip
        super().__init__(tolerate, see)
        self.advance = advance
        self.problems: list[tuple[BrokenLine, int]] = []
        self.odd: Counter[str] = Counter()
        self.first: dict[str, str] = {}
        self.texts, self.id_bytes = IdSet(), 0

    def settle(self, problems: Problems) -> None:
        self.problems.extend(problems)

    def see(self, record: Passage | Query) -> None:
        super().see(record)
        if isinstance(record, Passage):
            text, kind = record.content, "passages"
            self.texts.add(text)
            self.id_bytes += len(record.id) + 1
            self.advance(1)
        else:
            text, kind = record.text, "queries"
        if not text.isascii() and _DOUBLE.search(text):
            self._note(f"{kind} with doubly encoded characters", record.id)
        if _CONTROL.search(text):
            self._note(f"{kind} with control or lost characters", record.id)

    def _note(self, what: str, id: str) -> None:
        self.odd[what] += 1
        self.first.setdefault(what, id)


def look_over(
    corpus: Collection | BuiltinCorpus, expected: dict[str, Any] | None, vector_bytes: int, directory: Path,
    order: DocumentOrder,
) -> None:  # fmt: skip
    """Print what `examine` finds.

    Raises:
        BadInput: there are errors.
    """
    if process_rank() != 0:
        return
    with tempfile.TemporaryDirectory() as written:
        if isinstance(corpus, BuiltinCorpus):
            corpus.write(written)
            corpus = BeirCorpus(written)
        title = f"corpus.check of {corpus.name} (titles: {corpus.title}), {', '.join(corpus.splits())}"
        findings = examine(corpus, expected, vector_bytes, directory, order)
    print_tables([table(findings, title)])
    if errors := sum(finding.grade == ERROR for finding in findings):
        raise BadInput(f"corpus.check found {errors} {'error' if errors == 1 else 'errors'}, marked {ERROR} above")


def examine(
    collection: Collection, expected: dict[str, Any] | None, vector_bytes: int, directory: Path,
    order: DocumentOrder | None = None,
) -> list[Finding]:  # fmt: skip
    """Read a collection once and tell what was counted, what is broken or odd, and how much disk it will take.

    Args:
        collection: what is looked at.
        expected: {passages, splits: {name: {queries, judgments}}}, None for the published counts of the collection.
        vector_bytes: of one passage's vector in the index.
        directory: where the results will lie, for the space that is free there.
        order: which passage follows which, empty; None: this is not looked at.
    """
    expected = collection.published() if expected is None else expected
    total = expected.get("passages")
    progress = track("corpus.check", total) if total else nullcontext(lambda n: None)
    stopped = None
    with progress as advance:
        check = Examination(collection.rules.tolerate, advance, order and order.note)
        try:
            collection.inspect(check)
            ordered = order.order() if order else None
            with suppress(BrokenLine):  # it is listed already
                deque(collection.queries(), maxlen=0)  # raises where a query has different texts in different splits
        except BadInput as error:
            stopped = Finding("reading stopped", "", grade=ERROR, note=str(error))
    broken = [
        Finding(f"broken: {problem.kind}", more + 1, grade=ERROR, note=str(problem)) for problem, more in check.problems
    ]
    if stopped:
        return [*broken, stopped]
    return [
        _count("passages", check.passage_count, total), *_texts(check), *_order(ordered),
        *_splits(check, expected.get("splits") or {}), *broken, *_disk(check, vector_bytes, directory),
    ]  # fmt: skip


def table(findings: list[Finding], title: str = "") -> Table:
    """The findings, a row each."""
    rows = [("\n".join(filter(None, [f.what, f.note])), f.found, f.published, f.grade) for f in findings]
    return Table(title, ["", Column("found", ","), Column("published", ","), "grade"], rows)


def _count(what: str, found: int, published: int | None) -> Finding:
    if published is None:
        return Finding(what, found)
    return Finding(what, found, published, OK if found == published else ERROR)


def _texts(check: Examination) -> list[Finding]:
    findings = []
    if check.empty:
        findings.append(Finding("passages without text", check.empty, grade=WARNING))
    if twice := len(check.texts) - check.texts.distinct():
        findings.append(Finding("passages with the text of another", twice, grade=WARNING))
    for what, number in check.odd.items():
        findings.append(Finding(what, number, grade=WARNING, note=f"the first is {check.first[what]!r}"))
    return findings


def _order(order: Order | None) -> list[Finding]:
    """How many passages have a next one, where that is known."""
    if order is None or not order.told:
        return []
    return [Finding("passages that another one follows", int((order.next >= 0).sum()), note=order.told)]


def _splits(check: Examination, published: dict[str, dict[str, int]]) -> list[Finding]:
    findings = []
    for split, judged in check.judged.items():
        known = published.get(split, {})
        what = "queries with answers" if judged.by_answers else "judged queries"
        findings.append(_count(f"{split}: {what}", judged.queries, known.get("queries")))
        if not judged.by_answers:
            findings.append(_count(f"{split}: judgments", judged.pairs, known.get("judgments")))
        for what, number in (
            ("queries without a relevant passage", judged.without_positive),
            ("judgments of passages that are not there", judged.unknown),
        ):
            if number:
                findings.append(Finding(f"{split}: {what}", number, grade=WARNING))
    for split in published:
        if split not in check.judged:
            findings.append(Finding(f"{split}: judged queries", "none", published[split]["queries"], WARNING))
    return findings


def _disk(check: Examination, vector_bytes: int, directory: Path) -> list[Finding]:
    pieces = check.words * PIECES_PER_WORD
    store = pieces * BYTES_PER_PIECE + check.passage_count * BYTES_PER_OFFSET + check.id_bytes
    vectors = check.passage_count * vector_bytes
    free = shutil.disk_usage(next(path for path in (directory, *directory.parents) if path.exists())).free
    grade = OK if store + vectors < free else ERROR
    note = "" if grade == OK else "set output_dir=DIR to a larger disk"
    return [
        Finding("disk for tokens, about", _size(store)),
        Finding(f"disk for vectors of {vector_bytes:,} bytes", _size(vectors)),
        Finding("disk free for both", _size(free), grade=grade, note=note),
    ]


def _size(number: float) -> str:
    return f"{number / 1e9:,.2f} GB" if number >= 1e7 else f"{number / 1e6:,.2f} MB"
