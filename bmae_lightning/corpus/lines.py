"""Reads plain or gzip text files line by line, and turns every way such a file can be broken into one clear BadInput.

Lines and JSON objects only; what a collection makes of them is in `json_lines`, `qrels_lines` and `dpr`.
"""

import csv
import gzip
import json
import zlib
from collections.abc import Iterator
from pathlib import Path

from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import reading


class BrokenLine(BadInput):
    """A problem of one line; `kind` is the same for problems that have the same remedy, so that they can be counted."""

    def __init__(self, source: Path | str, line: int, kind: str, message: str):
        super().__init__(f"{source}:{line}: {message}")
        self.line, self.kind = line, kind


def plain_or_gzip(path: Path) -> Path | None:
    """`path` or `path`.gz, whichever exists, or None. Raises BadInput if both do."""
    zipped = path.with_name(path.name + ".gz")
    if path.is_file() and zipped.is_file():
        raise BadInput(f"both {path} and {zipped.name} exist and may differ; remove one of them.")
    return path if path.is_file() else zipped if zipped.is_file() else None


def raw_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yields (line number from 1, line without its end) of a plain or `.gz` file, leaving out blank lines.

    Raises BadInput for a file that cannot be opened and for a damaged gzip stream.
    """
    number = 0
    try:
        with reading(path) as file:
            for number, line in enumerate(file, start=1):
                line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
                if not line.isspace():
                    yield number, line.rstrip(b"\r\n")
    except UNREADABLE as error:
        raise unreadable(path, number + 1, error) from error


UNREADABLE = (OSError, EOFError, zlib.error)
"""What reading a plain or gzip file raises."""


def unreadable(path: Path, line: int, error: Exception) -> BadInput:
    """The message for one of `UNREADABLE`, met at a line."""
    if isinstance(error, EOFError):
        return BadInput(f"{path}:{line}: the gzip file is cut short; copy or download it again.")
    if isinstance(error, gzip.BadGzipFile | zlib.error):
        return BadInput(f"{path}:{line}: not a sound gzip file ({error}); copy or download it again.")
    reason = getattr(error, "strerror", None) or error
    return BadInput(f"{path} cannot be read: {reason}; check the path and its permissions.")


def as_text(path: Path | str, number: int, line: bytes) -> str:
    """The line as a string. Raises BrokenLine if it is not UTF-8."""
    try:
        return line.decode()
    except UnicodeDecodeError as error:
        message = (
            f"byte {error.start + 1} of the line (0x{line[error.start]:02x}) is not UTF-8; "
            f"convert the file, e.g. iconv -f latin1 -t utf-8."
        )
        raise BrokenLine(path, number, "encoding", message) from error


def as_object(path: Path, number: int, line: bytes) -> dict:
    """The line as a JSON object. Raises BrokenLine if it is not one, or if it escapes half a surrogate pair."""
    text = as_text(path, number, line)
    try:
        record = json.loads(text)
        if "\\ud" in text.lower():
            json.dumps(record, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        message = f"not JSON ({error.msg} at column {error.colno}); every line must be one complete JSON object."
        raise BrokenLine(path, number, "json", message) from error
    except RecursionError as error:
        raise BrokenLine(path, number, "json", "JSON nested too deeply; write a flat object.") from error
    except UnicodeEncodeError as error:
        message = "holds an escaped half of a surrogate pair (\\ud800-\\udfff), which is no text; remove it."
        raise BrokenLine(path, number, "encoding", message) from error
    if not isinstance(record, dict):
        message = (
            f'holds a JSON {type(record).__name__}; every line must be an object such as {{"_id": ..., "text": ...}}.'
        )
        raise BrokenLine(path, number, "json", message)
    return record


class Problems:
    """The broken lines of one file: the first of every kind, and how many more there are of it."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[BrokenLine, int]] = {}

    def __iter__(self) -> Iterator[tuple[BrokenLine, int]]:
        """(first, number of further ones) of every kind, in the order of the file."""
        return iter(sorted(self._kinds.values(), key=lambda item: item[0].line))

    def add(self, problem: BrokenLine) -> None:
        """Notes a problem."""
        first, more = self._kinds.get(problem.kind, (problem, -1))
        self._kinds[problem.kind] = first, more + 1

    def raise_if_any(self) -> None:
        """Raises BadInput with the first problem of the file and the number of later ones of its kind."""
        for first, more in self:
            lines = "line" if more == 1 else "lines"
            raise BadInput(f"{first} ({more} more such {lines} in this file.)" if more else str(first))


def columns(path: Path, number: int, line: bytes, names: list[str]) -> list[str]:
    """The fields of a line. Raises BrokenLine if they are not as many as `names`, or the line is not UTF-8."""
    text = as_text(path, number, line)
    try:
        fields = next(csv.reader([text], delimiter="\t")) if '"' in text else text.split("\t")
    except csv.Error as error:
        message = f"not tab-separated values ({error}); write the line as csv does."
        raise BrokenLine(path, number, "columns", message) from error
    if len(fields) != len(names):
        message = f"has {len(fields)} tab-separated columns instead of {len(names)} ({', '.join(names)})"
        raise BrokenLine(path, number, "columns", f"{message}; correct the line.")
    return fields
