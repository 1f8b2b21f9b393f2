"""Every write to disk: content lies under a temporary name until it is complete and flushed, then takes its place.

A reader therefore never sees half a file, and an error leaves the former content. Nothing else in the package opens a
file for writing: libraries that write by themselves are given the path of `replacing`.
"""

import contextlib
import gzip
import io
import json
import os
import shutil
from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import IO, Any, BinaryIO, TextIO
from urllib.parse import quote

import numpy as np

from bmae_lightning.runtime.errors import BadInput


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path`, where the block makes a file or a directory.

    When the block ends, it is flushed to disk and renamed to `path`, in place of what is there. An error removes it.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    _remove(temporary)
    try:
        yield temporary
        for file in temporary.rglob("*") if temporary.is_dir() else [temporary]:
            if file.is_file() and not file.is_symlink():
                with file.open("rb+") as made:
                    os.fsync(made.fileno())
        if path.is_dir():  # a directory cannot be renamed onto another one
            former = path.with_name(f".{path.name}.{os.getpid()}.old.tmp")
            os.replace(path, former)
            os.replace(temporary, path)
            _remove(former)
        else:
            os.replace(temporary, path)
    except BaseException:
        _remove(temporary)
        raise


def remove_leftovers(directory: Path) -> None:
    """Remove what killed processes have left under temporary names; no other process may be writing in `directory`."""
    for left in list(directory.rglob(".*.tmp")):
        _remove(left)


def _remove(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)
    path.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(path: str | Path) -> Iterator[BinaryIO]:
    """A binary file to write, which takes the place of `path` when the block ends without an error."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        yield file


@contextlib.contextmanager
def writing_text(path: str | Path, errors: str = "strict") -> Iterator[TextIO]:
    """As `writing`, for UTF-8 text; a name in .gz is compressed, the same text to the same bytes.

    errors: what becomes of a lone surrogate, which UTF-8 does not have; as `open` takes it.
    """
    with contextlib.ExitStack() as stack:
        file: IO[bytes] = stack.enter_context(writing(path))
        if _compressed(path):
            file = stack.enter_context(gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0))
        yield stack.enter_context(io.TextIOWrapper(file, encoding="utf-8", errors=errors, newline="\n"))


def write_text(path: str | Path, text: str) -> None:
    """Write UTF-8 text; a lone surrogate becomes a question mark."""
    with writing_text(path, errors="replace") as file:
        file.write(text)


def write_json(path: str | Path, content: Any) -> None:
    with writing_text(path) as file:
        json.dump(content, file, indent=1, ensure_ascii=False)


def link_page(path: Path, page: Path) -> None:
    """Make `path` a relative link to an HTML page; where there are no links, a page that leads there."""
    target = os.path.relpath(page, path.parent)
    with replacing(path) as temporary:
        try:
            temporary.symlink_to(target)
        except OSError:
            url = escape(quote(target.replace(os.sep, "/")))
            text = f'<!DOCTYPE html>\n<meta http-equiv="refresh" content="0; url={url}">\n<a href="{url}">{url}</a>\n'
            temporary.write_text(text, encoding="utf-8")


def write_array(path: str | Path, array: np.ndarray) -> None:
    """Write a .npy file."""
    with writing(path) as file:
        np.save(file, array, allow_pickle=False)


def write_arrays(path: str | Path, **arrays: np.ndarray) -> None:
    """Write a .npz file of named arrays."""
    with writing(path) as file:
        np.savez(file, **arrays)


def append_text(path: Path, text: str) -> None:
    """Append UTF-8 text to a log, in one write."""
    with path.open("a", encoding="utf-8", newline="\n") as file:
        file.write(text)


def growing(path: Path, length: int) -> BinaryIO:
    """A binary file to append to, cut after `length` bytes first; `flush` makes sure of what was written."""
    file = path.open("ab")
    file.truncate(length)
    return file


def flush(file: IO) -> None:
    """Flush what was written to an open file to disk."""
    file.flush()
    os.fsync(file.fileno())


def reading(path: str | Path) -> BinaryIO:
    """A file to read as bytes; one whose name ends in .gz is decompressed. Raises OSError."""
    return gzip.open(path, "rb") if _compressed(path) else open(path, "rb")  # type: ignore[return-value]


def _compressed(path: str | Path) -> bool:
    return str(path).endswith(".gz")


def read_json(path: Path) -> Any:
    """Read JSON that a stage wrote.

    Raises:
        BadInput: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise BadInput(f"{path}: cannot be read ({error}); delete {path.parent} and run the stage again") from error


class MappedArray:
    """A one-dimensional array of a .npy file: read by index or slice.

    size: how many numbers it must have.  remedy: end of the message where the file is missing, damaged or of another
    size.  Raises BadInput then.
    """

    def __init__(self, path: str | Path, size: int, remedy: str) -> None:
        self.path, self.remedy = Path(path), remedy
        try:
            array: np.ndarray = np.load(self.path, mmap_mode="r", allow_pickle=False).view(np.ndarray)
        except (OSError, ValueError) as error:
            raise BadInput(f"{self.path} cannot be read ({error}); {remedy}") from error
        if array.shape != (size,):
            raise BadInput(f"{self.path} has the shape {array.shape} instead of ({size},); {remedy}")
        self.array = array

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index):
        return self.array[index]

    def __getstate__(self) -> tuple:
        return self.path, len(self), self.remedy

    def __setstate__(self, state: tuple) -> None:
        self.__init__(*state)
