"""Lines of judgments: query, passage and grade in the columns of MS MARCO (pairs), of BEIR or of TREC.

Columns stand between white space; every line of a file has as many as the first.
"""

import re
from collections.abc import Callable, Iterator
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any

from bmae_lightning.corpus.lines import BrokenLine, as_text, raw_lines
from bmae_lightning.corpus.records import Judgment
from bmae_lightning.corpus.stream import Record, Stream

FORMS = {4: "query 0 passage grade", 3: "query-id<tab>corpus-id<tab>score", 2: "query<tab>passage"}
"""Number of columns -> what they are; with two every pair is relevant."""
_INTEGER = re.compile(r"[+-]?\d+")
_HEADING = re.compile(rb"(query|qid)[-_\s].*(score|relevance)\s*$|\S+\s+\S+\s+score\s*$|query-id\s+corpus-id\s*$")


def qrels_of(path: Path, forms: tuple[int, ...] = tuple(FORMS)) -> Stream[Judgment]:
    """The judgments of a plain or gzip file; a heading line is passed over. forms: how many columns it may have."""
    return _stream(path, forms, Judgment._make)


def judged_pairs(path: Path) -> Stream[tuple[str, str, int]]:
    """As `qrels_of`, as plain tuples, which are made in half the time."""
    return _stream(path, tuple(FORMS), tuple)


def _stream(path: Path, forms: tuple[int, ...], make: Callable[[tuple[str, str, int]], Record]) -> Stream[Record]:
    columns = next((len(_fields(as_text(path, *line))) for line in _lines(path)), 0)
    return Stream(path, partial(_lines, path), partial(_record, make, (columns,) if columns in forms else forms))


def _lines(path: Path) -> Iterator[tuple[int, bytes]]:
    lines = raw_lines(path)
    for number, line in islice(lines, 1):
        if not _HEADING.match(line.lower()):
            yield number, line
    yield from lines


def _fields(text: str) -> list[str]:
    """The columns; where one between tabs is empty, those between tabs, for a message that says so."""
    between_tabs = [field.strip() for field in text.rstrip().split("\t")]
    return text.split() if all(between_tabs) else between_tabs


def _record(make: Callable, columns: tuple[int, ...], path: Path, number: int, line: bytes) -> Any:
    """What `make` makes of (query, passage, grade). The options stand in front: `partial` is slow with keywords."""
    text = as_text(path, number, line)
    fields = text.split()
    size = len(fields)
    if size not in columns or ("\t" in text and text.count("\t") != size - 1):
        size = len(fields := _fields(text))
        if size not in columns or "" in fields:
            message = "has an empty column" if size in columns else f"has {size} columns"
            known = " or ".join(FORMS[each] for each in columns)
            raise BrokenLine(path, number, "columns", f"{message}; a line of this file is {known}.")
    grade = _grade(fields[-1]) if size > 2 else 1
    if grade is None:
        message = f"the score {fields[-1]!r} is not an integer; write 1 for relevant, 0 for not relevant, or a grade."
        raise BrokenLine(path, number, "score", message)
    return make((fields[0], fields[1 if size < 4 else 2], grade))


@lru_cache(1000)
def _grade(text: str) -> int | None:
    return int(text) if _INTEGER.fullmatch(text) else None
