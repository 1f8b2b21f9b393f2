"""How often each 64-bit key occurs in a stream too large for memory: one hash partition at a time, sorted, run lengths.

Partitions split the keys by their highest bits, so that their sorted tables one after another are the sorted table of
all, whatever their number. Implements the counts C_n of CDMAE's Eq. 7.
"""

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from bmae_lightning.runtime.files import writing

BLOCK = 1 << 16
"""Keys turned into run lengths at a time."""

PART, MOST_PARTS = 2048, 4096
"""Keys sorted at a time if they are spread evenly, and the parts that they are put into at most."""

BYTES_PER_ENTRY = 44
"""Of a table in memory: key and count as read, and the slots that they are put into."""

ENTRY = 16
"""Bytes of a key and its count on disk."""


def in_partition(key: np.ndarray, number: int, partitions: int) -> np.ndarray:
    """The keys (uint64) that belong to a partition, in their order."""
    from bmae_lightning.corpus.statistics.loops import keep_partition

    if partitions == 1:
        return key
    kept = np.empty_like(key)
    return kept[: keep_partition(key, number, partitions, kept)]


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
            key, count = _merge(self._runs)
            yield key[count >= min_count], count[count >= min_count]
        else:
            yield from self._run_lengths(min_count)

    def _shrink(self) -> None:
        blocks = list(self._run_lengths(1))
        self._runs.append(tuple(np.concatenate(column) for column in zip(*blocks, strict=True)) if blocks else _EMPTY)
        if len(self._runs) > 8:
            self._runs = [_merge(self._runs)]
        self._filled = 0

    def _run_lengths(self, min_count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        from bmae_lightning.corpus.statistics.loops import run_lengths

        sorted_K = self._buffer[: self._filled]
        _sort(sorted_K)
        start = 0
        while start < len(sorted_K):
            key, count = np.empty(BLOCK, dtype=np.uint64), np.empty(BLOCK, dtype=np.int64)
            kept, start = run_lengths(sorted_K, start, min_count, key, count)
            yield key[:kept], count[:kept]


def _sort(key_K: np.ndarray) -> None:
    """Sorts hashed keys in place: numpy's sort is twice as fast on parts that stay in a processor's cache."""
    from bmae_lightning.corpus.statistics.loops import part

    if len(key_K) <= PART:
        key_K.sort()
        return
    start_B = np.empty(min(len(key_K) // PART, MOST_PARTS) + 1, dtype=np.int64)
    part(key_K, (len(start_B) - 1) / (int(key_K.max()) - int(key_K.min()) + 1) * (1 - 1e-12), start_B)
    for start, end in pairwise(start_B.tolist()):
        key_K[start:end].sort()


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
    """A part of a table in memory: keys in rising order, each at the slot of its share of their range or soon behind.

    Hashed keys are spread evenly, so that with half as many slots again as keys one look finds most of them.

    key: uint64, rising, distinct, at least one.  count: int64, above 0.
    """

    def __init__(self, key: np.ndarray, count: np.ndarray):
        from bmae_lightning.corpus.statistics.loops import fill, last_slot

        self._low, self._high = key[0], key[-1]
        self._scale = 1.5 * len(key) / (int(key[-1]) - int(key[0]) + 1)
        self.slots_S2 = np.zeros((last_slot(key, self._scale) + 1, 2), dtype=np.uint64)
        fill(key, count, self._scale, self.slots_S2)

    def find(self, key: np.ndarray) -> np.ndarray:
        """The count of each of `key` (uint64), 0 for one that is not here: int64 of the same shape."""
        from bmae_lightning.corpus.statistics.loops import find

        count = np.empty(len(key), dtype=np.int64)
        find(key, self._low, self._high, self._scale, self.slots_S2, count)
        return count
