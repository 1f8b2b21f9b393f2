"""Counts of words and n-grams of a whole token store, as tables on disk; a run that was killed continues.

N-grams never cross passages. Implements the counts C_n and N_n of CDMAE's Eq. 7 and the frequencies of MASTER.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bmae_lightning.corpus.statistics.key_counts import KeyCounter, Table, in_partition
from bmae_lightning.corpus.statistics.words import UnitReader, row_ranges
from bmae_lightning.runtime.progress import track
from bmae_lightning.runtime.threads import Workers, in_turn

LARGEST_CHUNK = 1 << 17
"""Tokens that one thread reads at a time at most: their arrays fit into a processor's cache."""

BUFFER = 0.6
"""Share of a thread's memory that holds keys; the rest is for reading, and for partitions larger than the mean."""

SLACK = 1.3
"""A partition may hold so many times more keys than the mean before its buffer is shrunk on the way."""


def chunk_tokens(workers: Workers) -> int:
    return min(LARGEST_CHUNK, max(1 << 10, workers.share // 2048))


@dataclass(frozen=True)
class Counting:
    """What a table counts: the n-grams of `order` units that occur min_count times or more.

    once: count an n-gram once per passage; only for order 1.
    """

    name: str
    reader: UnitReader
    order: int
    min_count: int = 1
    once: bool = False

    def keys(self, first: int, last: int) -> np.ndarray:
        """Keys of all occurrences in the rows first .. last - 1."""
        units = self.reader.read(first, last)
        return units.key_U[units.times_in_row()[1]] if self.once else units.ngram_keys(self.order)[0]


def occurrences(reader: UnitReader, window: int, workers: Workers, title: str) -> list[int]:
    """N_n: how many n-grams of each order 1 .. window there are."""
    store = reader.store
    with track(f"{title}: {reader.unit}s", len(store.tokens), unit="tokens") as told:
        advance = in_turn(told)

        def total(rows: tuple[int, int]) -> np.ndarray:
            length_R = np.diff(reader.read(*rows).start_R)
            advance(int(store.offsets[rows[1]] - store.offsets[rows[0]]))
            return np.array([np.maximum(length_R - order, 0).sum() for order in range(window)])

        totals = workers.map(total, row_ranges(store, chunk_tokens(workers)))
    return [int(number) for number in np.sum(totals, axis=0)] if totals else [0] * window


def count_tables(directory: Path, countings: Sequence[Counting], workers: Workers, title: str) -> dict[str, Table]:
    """Counts into `directory`, one file per table and partition; those that are there already are kept.

    There are as many partitions as the memory asks for, and no fewer tasks than threads; each partition reads the whole
    store. The tables are the same for any number.
    """
    tokens = len(countings[0].reader.store.tokens)
    room = int(BUFFER * workers.share / 8)
    partitions = max(math.ceil(SLACK * tokens / room), math.ceil(workers.threads / len(countings)), 1)
    capacity = min(room, int(SLACK * tokens / partitions) + 1024)
    tables = {counting.name: Table(directory, counting.name, partitions) for counting in countings}
    tasks = [(counting, number) for counting in countings for number in tables[counting.name].missing()]
    if tasks:
        with track(f"{title}: counting", tokens * len(tasks), unit="tokens") as told:
            advance, chunk = in_turn(told), chunk_tokens(workers)
            workers.map(lambda task: _count(*task, tables[task[0].name], capacity, chunk, advance), tasks)
    return tables


def _count(
    counting: Counting, number: int, table: Table, capacity: int, chunk: int, advance: Callable[[int], None]
) -> None:
    counter, store = KeyCounter(capacity), counting.reader.store
    for first, last in row_ranges(store, chunk):
        counter.add(in_partition(counting.keys(first, last), number, table.partitions))
        advance(int(store.offsets[last] - store.offsets[first]))
    table.write(number, counter.finish(counting.min_count))
