"""Lines of judgments: the query, the passage and how relevant it is, in the columns of BEIR, of TREC or of MS MARCO.

Columns stand between white space; every line of a file has as many as the first. It holds no equation.
"""

import re
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bmae_lightning.corpus.lines import BrokenLine, as_text, raw_lines
from bmae_lightning.corpus.records import Judgment
from bmae_lightning.corpus.stream import Stream

FORMS = {2: "query<tab>passage", 3: "query-id<tab>corpus-id<tab>score", 4: "query 0 passage grade"}
"""Number of columns -> what they are; with two every pair is relevant."""
_INTEGER = re.compile(r"[+-]?\d+")


def qrels_of(path: Path, forms: tuple[int, ...] = (2, 3, 4)) -> Stream[Judgment]:
    """The judgments of a plain or gzip file; a heading line is passed over. forms: how many columns it may have."""
    columns = next((len(_fields(path, number, line)) for number, line in _lines(path)), 0)
    return Stream(path, partial(_lines, path), partial(_judgment, columns=columns if columns in forms else forms[-1]))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    for index, (number, line) in enumerate(raw_lines(path)):
        heading = re.match(rb"(query|qid)[-_\s].*(score|relevance)\s*$", line.lower())
        if index or not heading:
            yield number, line


def _fields(path: Path, number: int, line: bytes) -> list[str]:
    text = as_text(path, number, line)
    return [field.strip() for field in text.split("\t")] if "\t" in text else text.split()


def _judgment(path: Path, number: int, line: bytes, columns: int) -> Judgment:
    fields = _fields(path, number, line)
    if len(fields) != columns or not all(fields):
        message = f"has {len(fields)} columns" if len(fields) != columns else "has an empty column"
        raise BrokenLine(path, number, "columns", f"{message}; a line of this file is {FORMS[columns]}.")
    query, passage, grade = fields[0], fields[1 if columns < 4 else 2], fields[-1] if columns > 2 else "1"
    if not _INTEGER.fullmatch(grade):
        message = f"the score {grade!r} is not an integer; write 1 for relevant, 0 for not relevant, or a grade."
        raise BrokenLine(path, number, "score", message)
    return Judgment(query, passage, int(grade))
