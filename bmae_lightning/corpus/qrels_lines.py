"""Lines of judgments: query, passage and grade in the columns of MS MARCO (pairs), of BEIR or of TREC.

Columns stand between white space; every line of a file has as many as the first.
"""

import re
from collections.abc import Iterator
from functools import partial
from itertools import islice
from pathlib import Path

from bmae_lightning.corpus.lines import BrokenLine, as_text, raw_lines
from bmae_lightning.corpus.records import Judgment
from bmae_lightning.corpus.stream import Stream

FORMS = {4: "query 0 passage grade", 3: "query-id<tab>corpus-id<tab>score", 2: "query<tab>passage"}
"""Number of columns -> what they are; with two every pair is relevant."""
_INTEGER = re.compile(r"[+-]?\d+")
_HEADING = re.compile(rb"(query|qid)[-_\s].*(score|relevance)\s*$|\S+\s+\S+\s+score\s*$|query-id\s+corpus-id\s*$")


def qrels_of(path: Path, forms: tuple[int, ...] = tuple(FORMS)) -> Stream[Judgment]:
    """The judgments of a plain or gzip file; a heading line is passed over. forms: how many columns it may have."""
    columns = next((len(_fields(path, number, line)) for number, line in _lines(path)), 0)
    return Stream(path, partial(_lines, path), partial(_judgment, columns=(columns,) if columns in forms else forms))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    lines = raw_lines(path)
    for number, line in islice(lines, 1):
        if not _HEADING.match(line.lower()):
            yield number, line
    yield from lines


def _fields(path: Path, number: int, line: bytes) -> list[str]:
    """The columns; where one between tabs is empty, those between tabs, for a message that says so."""
    text = as_text(path, number, line)
    fields = text.split()
    if text.count("\t") not in (0, len(fields) - 1):
        between_tabs = [field.strip() for field in text.rstrip().split("\t")]
        return fields if all(between_tabs) else between_tabs
    return fields


def _judgment(path: Path, number: int, line: bytes, columns: tuple[int, ...]) -> Judgment:
    fields = _fields(path, number, line)
    size = len(fields)
    if size not in columns or not all(fields):
        message = "has an empty column" if size in columns else f"has {size} columns"
        known = " or ".join(FORMS[each] for each in columns)
        raise BrokenLine(path, number, "columns", f"{message}; a line of this file is {known}.")
    query, passage, grade = fields[0], fields[1 if size < 4 else 2], fields[-1] if size > 2 else "1"
    if not _INTEGER.fullmatch(grade):
        message = f"the score {grade!r} is not an integer; write 1 for relevant, 0 for not relevant, or a grade."
        raise BrokenLine(path, number, "score", message)
    return Judgment(query, passage, int(grade))
