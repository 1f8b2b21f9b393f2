"""Passages and queries as JSON objects, one a line: `_id` (or `id`), `text` (or `contents`), and `title` of passages.

Passages may say where they stand: `metadata: {doc_id, position}`. It holds no equation.
"""

from difflib import get_close_matches
from functools import partial
from pathlib import Path

from bmae_lightning.corpus.lines import BrokenLine, as_object
from bmae_lightning.corpus.records import Passage, Query
from bmae_lightning.corpus.rules import Rules, make_query
from bmae_lightning.corpus.stream import Stream, lines_of


def json_passages(path: Path, rules: Rules) -> Stream[Passage]:
    """The passages of a file."""
    return lines_of(path, partial(_passage, rules=rules))


def json_queries(path: Path) -> Stream[Query]:
    """The queries of a file."""
    return lines_of(path, _query)


def _passage(path: Path, number: int, line: bytes, rules: Rules) -> Passage:
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


def _query(path: Path, number: int, line: bytes) -> Query:
    record = as_object(path, number, line)
    return make_query(path, number, _id(path, number, record), _text(path, number, record))


def _id(path: Path, number: int, record: dict) -> str:
    id = record.get("_id", record.get("id"))
    if isinstance(id, int) and not isinstance(id, bool):
        return str(id)
    if id is None:
        near = get_close_matches("_id", list(record), 1)
        hint = f" (is {near[0]!r} meant?)" if near else ""
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
