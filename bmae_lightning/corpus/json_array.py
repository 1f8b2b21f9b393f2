"""Reads the objects of one large JSON array one after another, in the memory of a few of them; plain or gzip files.

Everything wrong with the file becomes one BadInput that names the line.
"""

import io
import json
import re
from collections.abc import Iterator
from pathlib import Path

from bmae_lightning.corpus.lines import UNREADABLE, unreadable
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import reading

CHUNK = 4 * 2**20
"""Characters read at a time."""
_SPACE = re.compile(r"[ \t\r\n]*")
_LONGEST_WORD = 16
"""How far from the end of what was read JSON may stop making sense only because the rest is missing."""


def objects(path: Path, chunk: int = CHUNK) -> Iterator[tuple[int, dict]]:
    """Yields (line on which it begins, object).

    Raises BadInput for a file that cannot be read, is cut short or damaged, is not UTF-8, or is no array of objects.
    """
    reader = _Window(path, chunk)
    with reader.file:
        if reader.next_sign() != "[":
            raise reader.broken("is not a JSON array; give the file as it was published, one array of objects")
        reader.at += 1
        if reader.next_sign() == "]":
            return
        while True:
            yield reader.value()
            sign = reader.next_sign()
            if sign == "]":
                return
            if sign != ",":
                raise reader.broken("a comma or the closing bracket of the array is missing")
            reader.at += 1


class _Window:
    """The part of the file from `at` on that has been read; `line` is the number of the line of `at`."""

    def __init__(self, path: Path, chunk: int) -> None:
        self.path, self.chunk = path, chunk
        self.text, self.at, self.line = "", 0, 1
        self.decoder = json.JSONDecoder()
        try:
            opened = reading(path)
        except OSError as error:
            raise unreadable(path, 1, error) from error
        self.file = io.TextIOWrapper(opened, encoding="utf-8-sig", newline="\n")

    def next_sign(self) -> str:
        """The next character that is no white space."""
        while True:
            end = _SPACE.match(self.text, self.at).end()
            self._move(end)
            if end < len(self.text):
                return self.text[end]
            if not self._more():
                raise self.broken("the file ends inside the array; copy or download it again")

    def value(self) -> tuple[int, dict]:
        """The object at the next sign and its line."""
        self.next_sign()
        while True:
            try:
                found, end = self.decoder.raw_decode(self.text, self.at)
                break
            except json.JSONDecodeError as error:
                missing = error.pos + _LONGEST_WORD >= len(self.text) or error.msg.startswith("Unterminated string")
                if missing and self._more():
                    continue
                self._move(error.pos)
                message = "the file ends inside an object" if missing else f"not JSON ({error.msg})"
                raise self.broken(f"{message}; copy or download it again") from error
            except RecursionError as error:
                raise self.broken("JSON nested too deeply; give the file as it was published") from error
        if not isinstance(found, dict):
            raise self.broken(f"holds a JSON {type(found).__name__} where an object belongs")
        line = self.line
        self._move(end)
        return line, found

    def broken(self, what: str) -> BadInput:
        return BadInput(f"{self.path}:{self.line}: {what}.")

    def _move(self, end: int) -> None:
        self.line += self.text.count("\n", self.at, end)
        self.at = end

    def _more(self) -> bool:
        """Read on, at least as much as is left, so that a long object is not tried too often."""
        left = self.text[self.at :]
        try:
            new = self.file.read(max(self.chunk, len(left)))
        except UnicodeDecodeError as error:
            raise self.broken(f"not UTF-8 from here on ({error.reason}); convert the file") from error
        except UNREADABLE as error:
            raise unreadable(self.path, self.line, error) from error
        self.text, self.at = left + new, 0
        return bool(new)
