"""The pieces of a long work: consecutive items, one file each, complete or not there.

Which items a piece holds depends on its size alone, so a killed run continues, and any number of processes that share
the work writes the same files.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bmae_lightning.runtime.files import MappedArray, write_array


class Shards:
    """Shard n holds items n·size .. (n+1)·size - 1.

    Args:
        directory: where the files lie.
        items: how many there are.
        size: items per shard.
        suffix: of a file's name.
    """

    def __init__(self, directory: Path, items: int, size: int, suffix: str = ".npy") -> None:
        self.directory, self.items, self.size, self.suffix = directory, items, size, suffix
        self.count = -(-items // size)

    def path(self, number: int) -> Path:
        return self.directory / f"shard-{number:06d}{self.suffix}"

    def rows(self, number: int) -> range:
        """The items of a shard, by number."""
        return range(number * self.size, min((number + 1) * self.size, self.items))

    def missing(self, rank: int = 0, world: int = 1) -> list[int]:
        """Unfinished shards of one of `world` processes: every world-th shard, whatever is finished already."""
        return [number for number in range(rank, self.count, world) if not self.path(number).is_file()]


class ArrayShards(Shards):
    """Shards that are one-dimensional arrays in .npy files, a number or a record per item."""

    def write(self, number: int, array: np.ndarray) -> None:
        """Write a whole shard; its file appears when it is complete."""
        write_array(self.path(number), array)

    def load(self, number: int) -> np.ndarray:
        """A shard, memory-mapped.

        Raises:
            BadInput: its file is missing or damaged.
        """
        remedy = "delete the file and run the same command again"
        return MappedArray(self.path(number), len(self.rows(number)), remedy).array

    def read(self) -> Iterator[np.ndarray]:
        """All shards in order, as `load` gives them."""
        return map(self.load, range(self.count))
