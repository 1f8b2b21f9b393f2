"""How often each 64-bit key occurs in a stream too large for memory: one hash partition at a time, sorted, run lengths.

Partitions split the keys by their highest bits, so that their sorted tables one after another are the sorted table of
all, whatever their number. Implements the counts C_n of CDMAE's Eq. 7.
"""

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from bmae_lightning.runtime.files import writing

BLOCK = 1 << 16
"""Keys turned into run lengths at a time."""

BYTES_PER_ENTRY = 32
"""Of a table in memory: key, count, and at most two bucket starts while they are made."""

ENTRY = 16
"""Bytes of a key and its count on disk."""


def in_partition(key: np.ndarray, number: int, partitions: int) -> np.ndarray:
    """The keys (uint64) that belong to a partition, in their order."""
    if partitions == 1:
        return key
    return key[((key >> np.uint64(32)) * np.uint64(partitions)) >> np.uint64(32) == number]


class KeyCounter:
    """Counts keys in a buffer of `capacity`; whenever it is full it shrinks to its distinct keys and their counts."""

    def __init__(self, capacity: int):
        self._buffer = np.empty(capacity, dtype=np.uint64)
        self._filled = 0
        self._runs: list[tuple[np.ndarray, np.ndarray]] = []

    def add(self, key: np.ndarray) -> None:
        while len(key):
            room = len(self._buffer) - self._filled
            taken, key = key[:room], key[room:]
            self._buffer[self._filled : self._filled + len(taken)] = taken
            self._filled += len(taken)
            if self._filled == len(self._buffer):
                self._shrink()

    def finish(self, min_count: int = 1) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The distinct keys, rising, and their counts (int64), in blocks; those below min_count are left out."""
        if self._runs:
            self._shrink()
            blocks = [_merge(self._runs)]
        else:
            blocks = self._run_lengths()
        for key, count in blocks:
            kept = count >= min_count
            yield key[kept], count[kept]

    def _shrink(self) -> None:
        blocks = list(self._run_lengths())
        self._runs.append(tuple(np.concatenate(column) for column in zip(*blocks, strict=True)) if blocks else _EMPTY)
        if len(self._runs) > 8:
            self._runs = [_merge(self._runs)]
        self._filled = 0

    def _run_lengths(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        key = self._buffer[: self._filled]
        key.sort()
        start = 0
        while start < len(key):
            end = min(start + BLOCK, len(key))
            end = int(np.searchsorted(key, key[end - 1], side="right"))
            block = key[start:end]
            run = np.append(0, np.flatnonzero(block[1:] != block[:-1]) + 1)
            yield block[run], np.diff(np.append(run, len(block)))
            start = end


_EMPTY = np.empty(0, dtype=np.uint64), np.empty(0, dtype=np.int64)


def _merge(runs: list[tuple[np.ndarray, np.ndarray]]) -> tuple[np.ndarray, np.ndarray]:
    key = np.concatenate([key for key, _ in runs])
    if not len(key):
        return _EMPTY
    order = np.argsort(key)
    key = key[order]
    run = np.append(0, np.flatnonzero(key[1:] != key[:-1]) + 1)
    return key[run], np.add.reduceat(np.concatenate([count for _, count in runs])[order], run)


class Table:
    """Sorted keys with their counts, in one file per partition; a partition is there when its file has its name.

    directory, name: files are `<name>.<number>-of-<partitions>`, the keys followed by the counts, 8 bytes each.
    """

    def __init__(self, directory: Path, name: str, partitions: int):
        self.partitions = partitions
        self._paths = [directory / f"{name}.{number:03}-of-{partitions:03}" for number in range(partitions)]

    def missing(self) -> list[int]:
        """Numbers of the partitions that are still to be counted."""
        return [number for number, path in enumerate(self._paths) if not path.is_file()]

    def write(self, number: int, blocks: Iterable[tuple[np.ndarray, np.ndarray]]) -> None:
        """Write a partition; it appears when it is whole."""
        path = self._paths[number]
        with writing(path) as file, tempfile.TemporaryFile(dir=path.parent) as counts:
            for key, count in blocks:
                file.write(memoryview(key))
                counts.write(memoryview(count))
            counts.seek(0)
            shutil.copyfileobj(counts, file, 1 << 20)

    def __len__(self) -> int:
        return sum(path.stat().st_size for path in self._paths) // ENTRY

    def spans(self, entries: int) -> list[tuple[Path, int, int]]:
        """The table cut into pieces of at most `entries` keys, each as (file, first key, keys); see `load`."""
        sizes = [(path, path.stat().st_size // ENTRY) for path in self._paths]
        return [(path, i, min(entries, size - i)) for path, size in sizes for i in range(0, size, entries)]

    def load(self, path: Path, start: int, count: int) -> "Lookup":
        """One of `spans` in memory."""
        size = path.stat().st_size // ENTRY
        key = np.fromfile(path, dtype=np.uint64, count=count, offset=8 * start)
        return Lookup(key, np.fromfile(path, dtype=np.int64, count=count, offset=8 * (size + start)))


class Lookup:
    """A part of a table in memory; hashed keys are spread evenly, so a key is found in the bucket of its high bits.

    key: uint64, rising, distinct, at least one.  count: int64.
    """

    def __init__(self, key: np.ndarray, count: np.ndarray):
        self.key, self.count = key, count
        span = int(key[-1]) - int(key[0])
        self._shift = np.uint64(max(0, span.bit_length() - len(key).bit_length() + 1))
        buckets = (span >> int(self._shift)) + 1
        self._start = np.searchsorted(key, key[0] + (np.arange(buckets, dtype=np.uint64) << self._shift))

    def find(self, key: np.ndarray) -> np.ndarray:
        """The count of each of `key` (uint64), 0 for one that is not here: int64 of the same shape."""
        count = np.zeros(len(key), dtype=np.int64)
        asked = np.flatnonzero((key >= self.key[0]) & (key <= self.key[-1]))
        key = key[asked]
        place = self._start[(key - self.key[0]) >> self._shift]
        todo = np.flatnonzero(self.key[place] < key)
        while len(todo):
            place[todo] += 1
            todo = todo[self.key[place[todo]] < key[todo]]
        count[asked] = np.where(self.key[place] == key, self.count[place], 0)
        return count
