"""Passages, their titles and queries as tab-separated columns, one record a line, as in MS MARCO's files.

It holds no equation.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bmae_lightning.corpus.lines import BrokenLine, as_text, raw_lines
from bmae_lightning.corpus.records import Passage, Query
from bmae_lightning.corpus.rules import Rules, make_query
from bmae_lightning.corpus.stream import Stream, lines_of
from bmae_lightning.errors import BadInput

_QUERY, _TITLE = ("id", "text"), ("id", "title")


def tab_passages(
    path: Path, columns: tuple[str, ...], rules: Rules, titles: Path | None, untitled: str
) -> Stream[Passage]:
    """The passages of a file. columns: what its columns are. titles: another file with ids and titles, in the same order,
    where passages may be missing; `untitled` stands there for no title.
    """
    rows = partial(_with_titles, path, titles) if titles else partial(_without_titles, path)
    return Stream(path, rows, partial(_passage, columns=columns, rules=rules, untitled=untitled))


def tab_queries(path: Path) -> Stream[Query]:
    """The queries of a file with ids and texts."""
    return lines_of(path, _query)


def _query(path: Path, number: int, line: bytes) -> Query:
    return make_query(path, number, *_fields(path, number, line, _QUERY))


def _passage(
    path: Path, number: int, row: tuple[bytes, str], columns: tuple[str, ...], rules: Rules, untitled: str
) -> Passage:
    line, title = row
    remedy = ", or name the columns of the file (corpus.columns=[id,text,title])"
    fields = dict(zip(columns, _fields(path, number, line, columns, remedy), strict=True))
    title = fields.get("title", title)
    return rules.passage(path, number, fields["id"], "" if title.strip() == untitled else title, fields["text"])


def _fields(path: Path, number: int, line: bytes, columns: tuple[str, ...], remedy: str = "") -> list[str]:
    fields = as_text(path, number, line).split("\t")
    if len(fields) != len(columns):
        form = "<tab>".join(columns)
        message = f"has {len(fields)} tab-separated columns, {form} has {len(columns)}; correct the line{remedy}."
        raise BrokenLine(path, number, "columns", message)
    return fields


def _without_titles(path: Path) -> Iterator[tuple[int, tuple[bytes, str]]]:
    return ((number, (line, "")) for number, line in raw_lines(path))


def _with_titles(path: Path, titles: Path) -> Iterator[tuple[int, tuple[bytes, str]]]:
    """(number, (line, its title)); both files are read side by side."""
    title_lines = ((number, *_fields(titles, number, line, _TITLE)) for number, line in raw_lines(titles))
    waiting = next(title_lines, None)
    for number, line in raw_lines(path):
        if waiting and line.startswith(waiting[1].encode() + b"\t"):
            yield number, (line, waiting[2])
            waiting = next(title_lines, None)
        else:
            yield number, (line, "")
    if waiting:
        raise BadInput(
            f"{titles}:{waiting[0]}: the title of {waiting[1]!r} belongs to no passage of {path.name} after the one before "
            "it; both files must have their ids in the same order (sort them alike), or use corpus.title=drop."
        )
