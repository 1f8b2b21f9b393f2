"""The pieces in which texts are generated: consecutive passages, one JSONL file each, complete or not there.

Which passages a shard holds depends on its size alone, so a killed run continues and any number of devices shares the
work; it holds no equation.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from bmae_lightning.corpus.lines import raw_lines
from bmae_lightning.errors import BadInput
from bmae_lightning.generate.record import Generated, parse


class Shards:
    """Shard n holds passages n·size .. (n+1)·size − 1.

    Args:
        directory: where the files lie.
        passages: how many there are.
        size: passages per shard.
    """

    def __init__(self, directory: Path, passages: int, size: int) -> None:
        self.directory, self.passages, self.size = directory, passages, size
        self.count = -(-passages // size)

    def path(self, number: int) -> Path:
        return self.directory / f"shard-{number:06d}.jsonl"

    def rows(self, number: int) -> range:
        """The passages of a shard."""
        return range(number * self.size, min((number + 1) * self.size, self.passages))

    def missing(self, rank: int = 0, world: int = 1) -> list[int]:
        """Unfinished shards of one of `world` processes: every world-th shard, whatever is finished already."""
        return [number for number in range(rank, self.count, world) if not self.path(number).is_file()]

    def write(self, number: int, records: Iterable[Generated]) -> None:
        """Write a whole shard under a temporary name, flush it to disk, then rename."""
        self.directory.mkdir(parents=True, exist_ok=True)
        temporary = self.path(number).with_suffix(".tmp")
        with temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.writelines(record.line() for record in records)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self.path(number))

    def read(self) -> Iterator[Generated]:
        """The records of all shards in order.

        Raises:
            BadInput: a shard that does not hold its passages; names the file.
        """
        for number in range(self.count):
            records = [parse(self.path(number), line, text) for line, text in raw_lines(self.path(number))]
            if len(records) != len(self.rows(number)):
                raise BadInput(
                    f"{self.path(number)}: {len(records)} lines instead of {len(self.rows(number))}; delete the file "
                    "and run the same command again"
                )
            yield from records
