"""Files on disk: every write is atomic (temporary name, flush, rename), so that a reader never sees half a file."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from bmae_lightning.runtime.errors import BadInput


def save_array(path: Path, array: np.ndarray) -> None:
    """Write a .npy file under a temporary name, flush it to disk, then rename."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        np.save(file, array, allow_pickle=False)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


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


def write_whole(path: str | Path, text: str) -> None:
    """Write UTF-8 text under a temporary name beside `path`, flush it to disk, then rename; OSError leaves no trace."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w", encoding="utf-8", errors="replace", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, content: Any) -> None:
    """Write JSON under a temporary name, flush it to disk, then rename: a reader never sees half a file."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, ensure_ascii=False)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read_json(path: Path) -> Any:
    """Read JSON that a stage wrote.

    Raises:
        BadInput: the file is missing or damaged.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, json.JSONDecodeError) as error:
        raise BadInput(f"{path}: cannot be read ({error}); delete {path.parent} and run the stage again") from error
