"""Hard negatives from the user's own ranking of the training queries, a run file (`negatives=file`)."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bmae_lightning.evaluation.measure.run_files import open_run
from bmae_lightning.evaluation.measure.trec import Run
from bmae_lightning.retrieval.negatives.source import RankedNegatives
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.file_digest import file_digest


class FileNegatives(RankedNegatives):
    """As `RankedNegatives`, from a file.

    Args:
        path: a run in any form of `evaluation.measure.run_files`, gzipped where the name ends in .gz; other queries
            are ignored.
        depth, empty, margin, least, short: as for `RankedNegatives`.
    """

    needs_run = False
    foreign = True

    def __init__(
        self, path: str, depth: int = 200, empty: str = "fill", margin: float | None = None, least: int = 0,
        short: str = "fill",
    ) -> None:  # fmt: skip
        super().__init__(depth, empty, margin, least, short)
        self.path = Path(path).expanduser()

    def identity(self) -> str:
        """What a result depends on apart from the options: the content of the file.

        Raises:
            BadInput: there is no such file.
        """
        try:
            return file_digest(self.path)
        except OSError as error:
            raise BadInput(f"negatives.path={self.path}: cannot be read ({error.strerror})") from error

    def of(self, run: Run | None, positives: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Query id -> passage ids in rank order.

        Raises:
            BadInput: the file is no run, or has no training query.
        """
        ranking = open_run(self.path)
        if not any(query in ranking for query in positives):
            raise BadInput(
                f"{self.path}: none of the {len(positives)} training queries is in it (it has {len(ranking)} others, "
                f"such as {next(iter(ranking), None)!r}); rank the queries of qrels/train.tsv"
            )
        return super().of(ranking, positives)
