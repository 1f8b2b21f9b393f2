"""BEIR's rule on identical ids: in ArguAna and Quora the query is itself a passage of the corpus, and finding it counts for
nothing, so results with the id of their query are removed before anything is measured."""

from collections.abc import Iterator, Mapping

from bmae_lightning.evaluation.measure.trec import Run


class _Others(Mapping):
    """The rankings of a run without the query itself, each made when it is asked for."""

    def __init__(self, run: Run) -> None:
        self.run = run

    def __getitem__(self, query: str) -> list[tuple[str, float]]:
        return [hit for hit in self.run[query] if hit[0] != query]

    def __iter__(self) -> Iterator[str]:
        return iter(self.run)

    def __len__(self) -> int:
        return len(self.run)


def without_identical(run: Run) -> Run:
    """The run without passages that have the id of their query."""
    return Run(_Others(run))
