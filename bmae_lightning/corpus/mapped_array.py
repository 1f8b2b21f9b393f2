"""A numpy array in a file, memory-mapped; what travels to a data worker is the path alone."""

import os
from pathlib import Path

import numpy as np

from bmae_lightning.errors import BadInput


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
