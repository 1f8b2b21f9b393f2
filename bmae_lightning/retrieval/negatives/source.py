"""Sources of hard negatives, and the groups of passages that a query is trained with."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.evaluation.measure.trec import Run
from bmae_lightning.retrieval.negatives.hard_negatives import fill_up, group, negatives_from_run
from bmae_lightning.runtime.checks import at_least, choice
from bmae_lightning.runtime.errors import BadInput

EMPTY, SHORT = ("fill", "drop"), ("fill", "repeat")


class Negatives(ABC):
    """Base class of the sources of hard negatives in `conf/negatives/`.

    Attributes:
        needs_run: whether `of` reads the ranking of the stage's `inputs.ranking`.
        foreign: whether the ids are the user's own, to be looked up in the corpus first.
        path: file that they come from, for messages.
        depth: how far down that ranking it reads.
        least: shorter lists get random passages up to so many, the same ones in every stage, so that a teacher scores
            them as well.
        empty: what becomes of a query that has none, `fill` (random passages) or `drop`.
        short: what makes up for negatives that a group lacks, `fill` (random passages, others in every epoch) or
            `repeat` (the list again).
        margin: keep only those that a teacher scores this much below the query's worst positive, None for all.
    """

    needs_run, foreign = False, False
    depth, least, empty, short, margin = 0, 0, "fill", "fill", None
    path: str | Path = ""

    @abstractmethod
    def of(self, run: Run | None, positives: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Query id -> passage ids, of which a group draws; a short list is filled with random passages.

        run: the ranking of the training queries, None where there is none.  positives: query id -> passage ids.
        """


class RankedNegatives(Negatives):
    """Passages from the top of a ranking that are not positives.

    Relations: `FileNegatives` and `TripleNegatives` read them from a file, `Refresh` ranks anew during training (ANCE).

    Args:
        depth: how many of them are kept per query.
        empty, margin, least, short: see `Negatives`; RetroMAE's BEIR model has a margin, SimLM's code the others.
    """

    needs_run = True

    def __init__(
        self, depth: int = 200, empty: str = "fill", margin: float | None = None, least: int = 0, short: str = "fill"
    ) -> None:
        at_least(1, depth=depth)
        at_least(0, least=least)
        choice(EMPTY, empty=empty)
        choice(SHORT, short=short)
        self.depth, self.empty, self.margin, self.least, self.short = depth, empty, margin, least, short

    def of(self, run: Run | None, positives: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Query id -> passage ids in rank order.

        Raises:
            BadInput: the stage has no ranking.
        """
        if run is None:
            raise BadInput("negatives=bm25 needs a ranking: set inputs.ranking of the stage to bm25")
        return negatives_from_run(run, positives, self.depth)


class RandomNegatives(Negatives):
    """Uniformly random passages that are not positives."""

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
        positives: query id -> what it is trained with as positives, None for all that is relevant.
        pairs: a query is an example with each of its positives, instead of one with all of them in turn.

    Attributes:
        ids: of the query of every example.
        positives: query id -> those that are drawn, in turn.
        known: query id -> all its positives, none of which is ever its negative.
        negatives: query id -> its list.
        dropped: how many queries are left out because they have no positive or, where the source says so, no hard
            negative.

    Raises:
        BadInput: no query has a positive, or a passage id that the corpus does not have.
    """

    def __init__(
        self, qrels: Mapping[str, Mapping[str, int]], queries: TokenStore, passages: TokenStore, source: Negatives,
        run: Run | None, size: int, seed: int, positives: Mapping[str, Sequence[str]] | None = None,
        pairs: bool = False,
    ) -> None:  # fmt: skip
        relevant = relevant_of(qrels)
        self.positives = relevant if positives is None else {query: positives[query] for query in relevant}
        self.known = {query: list(dict.fromkeys([*relevant[query], *self.positives[query]])) for query in relevant}
        if not self.positives:
            raise BadInput("no training query has a passage judged relevant: look at qrels/train.tsv")
        self.judged, self.source, self.queries = len(qrels), source, queries
        self.passages, self.size, self.seed, self.pairs = passages, size, seed, pairs
        negatives = source.of(run, self.known)
        if source.foreign:
            check_ids(negatives, passages, source.path)
        self.restrict(negatives)
        self._fill_up()

    def restrict(self, negatives: Mapping[str, Sequence[str]]) -> None:
        """Train with these negatives; queries without any are dropped if the source says so.

        Raises:
            BadInput: no query is left.
        """
        drop = self.source.empty == "drop" and self.size > 1
        kept = {query: listed for query, listed in negatives.items() if listed or not drop}
        if not kept:
            raise BadInput("negatives.empty=drop leaves no training query: none has a hard negative; use fill")
        self.negatives, self.dropped = kept, self.judged - len(kept)
        times = {query: len(listed) if self.pairs else 1 for query, listed in self.positives.items() if query in kept}
        examples = [(query, place) for query, count in times.items() for place in range(count)]
        self.ids, self.places = [query for query, _ in examples], [place for _, place in examples]
        self.query_rows = self.queries.rows_of(self.ids).tolist()

    def renew(self, run: Run, depth: int) -> None:
        """Draw hard negatives from another ranking of the same queries, its first `depth` that are no positives."""
        self.negatives = negatives_from_run(run, {query: self.known[query] for query in self.ids}, depth)
        self._fill_up()

    def _fill_up(self) -> None:
        self.negatives = fill_up(self.negatives, self.source.least, self.known, self.passages.external_ids)

    @property
    def short(self) -> int:
        """Queries with fewer hard negatives than a group holds."""
        return sum(len(listed) < self.size - 1 for listed in self.negatives.values())

    def __len__(self) -> int:
        return len(self.ids)

    def draw(self, number: int, epoch: int) -> list[int]:
        """Rows of the group of example `number` in `epoch`: a positive, then `size` - 1 negatives."""
        query = self.ids[number]
        turn = epoch * len(self.positives[query]) + self.places[number] if self.pairs else epoch
        drawn = group(
            self.positives[query], self.negatives[query], self.size, self.seed, turn, query,
            self.passages.external_ids, self.known[query], self.source.short == "repeat",
        )  # fmt: skip
        return self.passages.rows_of(drawn).tolist()


def relevant_of(qrels: Mapping[str, Mapping[str, int]]) -> dict[str, list[str]]:
    """Query id -> passages judged relevant, in the order of the judgments; queries without any are left out."""
    judged = {query: [passage for passage, grade in marks.items() if grade > 0] for query, marks in qrels.items()}
    return {query: relevant for query, relevant in judged.items() if relevant}


def check_ids(negatives: Mapping[str, Sequence[str]], passages: TokenStore, source: object) -> None:
    """Raise BadInput for the first passage that the corpus does not have; names it and `source`."""
    for query, listed in negatives.items():
        try:
            passages.rows_of(listed)
        except KeyError as error:
            raise BadInput(
                f"{source}: query {query} lists the passage {error.args[0]!r}, which the corpus does not have; rank "
                "the same corpus, or correct the ids"
            ) from None


Marks = TypeVar("Marks")


class QueryShare:
    """A sample of the training queries that depends on the seed and their ids alone, so it is the same in every stage.

    Args:
        share: of the queries, above 0 and at most 1; it is met on average, not exactly.
        seed: of the sample.
    """

    def __init__(self, share: float = 1.0, seed: int = 0) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share must be above 0 and at most 1 (5 % is train_share=0.05), got {share}")
        self.share, self.seed = share, seed

    def of(self, queries: Mapping[str, Marks]) -> dict[str, Marks]:
        """The queries of the sample, in their order.

        Raises:
            BadInput: it is empty.
        """
        kept = {query: marks for query, marks in queries.items() if self._place(query) < self.share}
        if queries and not kept:
            raise BadInput(
                f"train_share={self.share} leaves none of the {len(queries):,} training queries: use a larger share, "
                "or another train_queries.seed"
            )
        return kept

    def _place(self, query: str) -> float:
        """A number in [0, 1); the sample has the queries below `share`."""
        if self.share == 1:
            return 0.0
        digest = hashlib.blake2b(f"{self.seed}\0share\0{query}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") / 2**64
