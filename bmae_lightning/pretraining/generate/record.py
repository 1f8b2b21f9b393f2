"""What is written about one passage, and its line of JSON: the format of `generated.jsonl` and of a user's own file.

`{"_id": "p1", "queries": ["first", "second"], "continuation": "goes on so" or null}`
"""

import json
from pathlib import Path
from typing import NamedTuple

from bmae_lightning.corpus.lines import BrokenLine, as_object
from bmae_lightning.runtime.checks import nearest

KEYS = ("_id", "queries", "continuation")


class Generated(NamedTuple):
    """Queries and the continuation of one passage; no query and None mean that there is none."""

    id: str
    queries: list[str]
    continuation: str | None

    def line(self) -> str:
        """Its line of JSON."""
        content = {"_id": self.id, "queries": self.queries, "continuation": self.continuation}
        return json.dumps(content, ensure_ascii=False) + "\n"


def parse(path: Path, number: int, line: bytes) -> Generated:
    """The record of a line.

    Raises:
        BrokenLine: it is none; names file and line.
    """
    record = as_object(path, number, line)
    for key in record:
        if key not in KEYS:
            hint = nearest(key, KEYS, otherwise=f"; a line has {', '.join(KEYS)}.")
            raise BrokenLine(path, number, "key", f"unknown key {key!r}{hint}")
    id = record.get("_id")
    if isinstance(id, int) and not isinstance(id, bool):
        id = str(id)
    if not isinstance(id, str):
        what = "no" if id is None else f"the {type(id).__name__} {id!r} as"
        raise BrokenLine(path, number, "id", f'has {what} "_id"; give the id that the passage has in the corpus.')
    queries = record.get("queries")
    queries = [] if queries is None else queries
    if not isinstance(queries, list) or not all(isinstance(query, str) for query in queries):
        message = f'"queries" of {id!r} must be a list of strings, such as ["what is it"], not {_shown(queries)}.'
        raise BrokenLine(path, number, "queries", message)
    continuation = record.get("continuation")
    if not isinstance(continuation, str | None):
        message = f'"continuation" of {id!r} must be a string or null, not {_shown(continuation)}.'
        raise BrokenLine(path, number, "continuation", message)
    return Generated(id, queries, continuation)


def _shown(value: object, most: int = 60) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= most else text[:most] + " ..."
