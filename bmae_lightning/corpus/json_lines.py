"""Passages and queries, one a line: as JSON objects, or as tab-separated columns.

A JSON object has `_id` (or `id`), `text` (or `contents`) and, for passages, `title` and the place in a document:
`metadata: {doc_id, position}`.
"""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

from bmae_lightning.corpus.lines import BrokenLine, as_object, as_text, raw_lines
from bmae_lightning.corpus.records import Passage, Query, Rules, make_query
from bmae_lightning.corpus.stream import Stream, lines_of
from bmae_lightning.runtime.checks import closest
from bmae_lightning.runtime.errors import BadInput


def json_passages(path: Path, rules: Rules) -> Stream[Passage]:
    """The passages of a file."""
    return lines_of(path, partial(_json_passage, rules=rules))


def json_queries(path: Path) -> Stream[Query]:
    """The queries of a file."""
    return lines_of(path, _json_query)


def _json_passage(path: Path, number: int, line: bytes, rules: Rules) -> Passage:
    record = as_object(path, number, line)
    id, text = _id(path, number, record), _text(path, number, record)
    title = record.get("title") or ""
    if not isinstance(title, str):
        message = f'"title" of {id!r} is a {type(title).__name__}; make it a string or leave it out.'
        raise BrokenLine(path, number, "title", message)
    metadata = record.get("metadata")
    metadata = metadata if isinstance(metadata, dict) else {}
    doc_id, position = metadata.get("doc_id"), metadata.get("position")
    doc_id, position = None if doc_id is None else str(doc_id), position if type(position) is int else None
    return rules.passage(path, number, id, title, text, doc_id, position)


def _json_query(path: Path, number: int, line: bytes) -> Query:
    record = as_object(path, number, line)
    return make_query(path, number, _id(path, number, record), _text(path, number, record))


def _id(path: Path, number: int, record: dict) -> str:
    id = record.get("_id", record.get("id"))
    if isinstance(id, int) and not isinstance(id, bool):
        return str(id)
    if id is None:
        hint = f" (is {near!r} meant?)" if (near := closest("_id", record)) else ""
        raise BrokenLine(path, number, "id", f'has no "_id"{hint}; give every record a unique string.')
    if not isinstance(id, str):
        raise BrokenLine(path, number, "id", f'"_id" is the {type(id).__name__} {id!r}; make it a string.')
    return id


def _text(path: Path, number: int, record: dict) -> str:
    text = record.get("text", record.get("contents"))
    if not isinstance(text, str):
        what = "has no" if text is None else f"has the {type(text).__name__} {text!r} as"
        raise BrokenLine(path, number, "text", f'record {_id(path, number, record)!r} {what} "text"; give it a string.')
    return text


_QUERY, _TITLE = ("id", "text"), ("id", "title")


def tab_passages(
    path: Path, columns: tuple[str, ...], rules: Rules, titles: Path | None, untitled: str
) -> Stream[Passage]:
    """The passages of a file. columns: what its columns are. titles: another file with ids and titles, in the same
    order, where passages may be missing; `untitled` stands there for no title.
    """
    rows = partial(_with_titles, path, titles) if titles else partial(_without_titles, path)
    return Stream(path, rows, partial(_tab_passage, columns=columns, rules=rules, untitled=untitled))


def tab_queries(path: Path) -> Stream[Query]:
    """The queries of a file with ids and texts."""
    return lines_of(path, _tab_query)


def _tab_query(path: Path, number: int, line: bytes) -> Query:
    return make_query(path, number, *_fields(path, number, line, _QUERY))


def _tab_passage(
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
            f"{titles}:{waiting[0]}: the title of {waiting[1]!r} belongs to no passage of {path.name} after the one "
            "before it; both files must have their ids in the same order (sort them alike), or use corpus.title=drop."
        )
