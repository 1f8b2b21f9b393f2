"""The shards in which texts are generated: one JSONL file each, a line per passage."""

from collections.abc import Iterable, Iterator

from bmae_lightning.corpus.lines import raw_lines
from bmae_lightning.pretraining.generate.record import Generated, parse
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import writing_text
from bmae_lightning.runtime.shards import Shards


class TextShards(Shards):
    """What was generated for passages, which are the items."""

    suffix = ".jsonl"

    def write(self, number: int, records: Iterable[Generated]) -> None:
        """Write a whole shard; its file appears when it is complete."""
        with writing_text(self.path(number)) as file:
            file.writelines(record.line() for record in records)

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
