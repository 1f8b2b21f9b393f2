"""Where the hard negatives of a training stage come from, and the groups of passages that a query is trained with."""

from collections.abc import Mapping, Sequence

from bmae_lightning.corpus.token_store import TokenStore
from bmae_lightning.errors import BadInput
from bmae_lightning.negatives.hard_negatives import group, negatives_from_run, shortfall
from bmae_lightning.run import Run


class RankedNegatives:
    """Passages from the top of a ranking that are not positives.

    Args:
        depth: how many of them are kept per query.
    """

    needs_run = True

    def __init__(self, depth: int = 200) -> None:
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        self.depth = depth

    def of(self, run: Run | None, positives: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Query id -> passage ids in rank order.

        Raises:
            BadInput: the stage has no ranking.
        """
        if run is None:
            raise BadInput("negatives=bm25 needs a ranking: set inputs.ranking of the stage to bm25")
        return negatives_from_run(run, positives, self.depth)


class RandomNegatives:
    """Uniformly random passages that are not positives."""

    needs_run = False

    def of(self, run: Run | None, positives: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """An empty list for every query; `group` fills it at random."""
        return {query: [] for query in positives}


class Groups:
    """The training queries, and the rows of the passages that each is trained with in an epoch.

    Args:
        qrels: query id -> passage id -> relevance; above 0 is a positive.
        queries, passages: token stores, which know the rows.
        source: of hard negatives.
        run: ranking of the training queries, None where the source needs none.
        size: passages per query, a positive first.
        seed: of the drawing.

    Raises:
        BadInput: no query has a positive.
    """

    def __init__(
        self,
        qrels: Mapping[str, Mapping[str, int]],
        queries: TokenStore,
        passages: TokenStore,
        source: RankedNegatives | RandomNegatives,
        run: Run | None,
        size: int,
        seed: int,
    ) -> None:
        judged = {query: [passage for passage, grade in marks.items() if grade > 0] for query, marks in qrels.items()}
        self.positives = {query: relevant for query, relevant in judged.items() if relevant}
        if not self.positives:
            raise BadInput("no training query has a passage judged relevant: look at qrels/train.tsv")
        self.negatives = source.of(run, self.positives)
        self.ids = list(self.positives)
        self.query_rows = [queries.row_of(query) for query in self.ids]
        self.passages, self.size, self.seed = passages, size, seed
        self.short = shortfall(self.negatives, size - 1).queries

    def __len__(self) -> int:
        return len(self.ids)

    def draw(self, number: int, epoch: int) -> list[int]:
        """Rows of the group of query `number` in `epoch`: a positive, then `size` - 1 negatives."""
        query = self.ids[number]
        drawn = group(
            self.positives[query], self.negatives[query], self.size, self.seed, epoch, query, self.passages.external_ids
        )
        return [self.passages.row_of(passage) for passage in drawn]
