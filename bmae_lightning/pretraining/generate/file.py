"""Bring your own: queries and continuations from a JSONL file, one line per passage in any order (`generate=file`).

Only a place in the file is kept per passage, so memory does not grow with the texts.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bmae_lightning.corpus.lines import BrokenLine, Problems
from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.pretraining.generate.record import Generated, parse
from bmae_lightning.runtime.errors import BadInput


class TextFile:
    """A file of generated texts.

    Args:
        path: JSON lines `{"_id": ..., "queries": [...], "continuation": "..." or null}`; passages that it leaves out
            have neither.
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path).expanduser()
        if self.path.suffix == ".gz":
            raise ValueError(f"path={path}: lines are read in the order of the corpus, so unpack the file first")

    @property
    def description(self) -> str:
        return f"file {self.path}"

    def check(self) -> None:
        """Raise BadInput if there is no such file."""
        if not self.path.is_file():
            raise BadInput(f"generate.texts.path={self.path}: there is no such file")

    def identity(self) -> str:
        """What a result depends on apart from the options: the content of the file."""
        self.check()
        with self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def read(self, passages: TokenStore) -> Iterator[Generated]:
        """A record for every passage in the order of the store; every line is checked before the first one is given.

        Raises:
            BadInput: the first broken line, with file and line, and how many more there are of its kind.
        """
        start_N = self._places(passages)
        with self.path.open("rb") as file:
            for row, start in enumerate(start_N):
                if start < 0:
                    yield Generated(passages.external_id(row), [], None)
                else:
                    file.seek(start)
                    yield parse(self.path, 0, file.readline().rstrip(b"\r\n").removeprefix(b"\xef\xbb\xbf"))

    def _places(self, passages: TokenStore) -> np.ndarray:
        """Where the line of each passage starts, -1 for none."""
        self.check()
        start_N = np.full(len(passages), -1, dtype=np.int64)
        problems, start = Problems(), 0
        with self.path.open("rb") as file:
            for number, line in enumerate(file, start=1):
                here, start = start, start + len(line)
                line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if not line.strip():
                    continue
                try:
                    row = self._row(number, line.rstrip(b"\r\n"), passages)
                    if start_N[row] >= 0:
                        message = (
                            f"id {passages.external_id(row)!r} was used before in this file; keep one of the lines."
                        )
                        raise BrokenLine(self.path, number, "duplicate", message)
                    start_N[row] = here
                except BrokenLine as problem:
                    problems.add(problem)
        problems.raise_if_any()
        if not (start_N >= 0).any():
            raise BadInput(f"{self.path} is empty; it needs one JSON object per passage.")
        return start_N

    def _row(self, number: int, line: bytes, passages: TokenStore) -> int:
        id = parse(self.path, number, line).id
        try:
            return passages.row_of(id)
        except KeyError:
            message = (
                f"id {id!r} is no passage of the corpus; remove the line, or prepare the corpus that it belongs to."
            )
            raise BrokenLine(self.path, number, "unknown", message) from None
