"""Let the re-ranker score every training pair that distillation may draw: all positives, all hard negatives."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.evaluation.measure.ranking import TRAIN
from bmae_lightning.lit.fit import make_trainer
from bmae_lightning.report.tracking.loggers import Tracking
from bmae_lightning.retrieval.negatives.hard_negatives import fill_up, negatives_from_run
from bmae_lightning.retrieval.negatives.positives import with_answer
from bmae_lightning.retrieval.negatives.source import QueryShare, relevant_of
from bmae_lightning.runtime.checks import at_least
from bmae_lightning.runtime.cost import Cost, Sizes
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import write_json
from bmae_lightning.runtime.process import print_once, process_rank
from bmae_lightning.runtime.stage import Context, Stage, require_splits
from bmae_lightning.stage.mined_negatives import read_mined
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.rank import Shared
from bmae_lightning.stage.rerank import pairs_of
from bmae_lightning.stage.train_reranker import open_scorer, scoring_cost

if TYPE_CHECKING:
    from bmae_lightning.retrieval.reranking.score_pairs import PairShards


@dataclass(kw_only=True)
class Score(Stage, Shared):
    """Writes scores.parquet: query id, passage id, the re-ranker's raw score.

    Args:
        depth: passages scored per training query beside its positives and those with an answer: the first of its
            ranking that are neither.
        least: with random ones so many, see `Negatives`.
        logger: makes the loggers of a run.
        train_queries: which training queries have their pairs scored.
    """

    depth: int
    logger: Tracking
    least: int = 0
    train_queries: QueryShare = field(default_factory=QueryShare)

    def __post_init__(self) -> None:
        at_least(1, depth=self.depth)
        self.check_sizes()

    def preflight(self, splits: list[str]) -> None:
        require_splits(self.name, [TRAIN], splits)
        make_trainer(self.trainer, self.name)

    def check_inputs(self, inputs: Mapping[str, object]) -> None:
        ranking = inputs.get("ranking")
        if not getattr(ranking, "config", {}).get("train_depth", 1):
            raise BadInput(
                f"{self.name} scores the ranking of training queries, which {getattr(ranking, 'stage', 'its input')} "
                "does not make: set its train_depth=200"
            )

    def cost(self, sizes: Sizes, inputs: Mapping[str, Any]) -> Cost:
        queries = self.train_queries.share * sizes.judged([TRAIN])
        return scoring_cost(inputs["reranker"].config, sizes, (self.depth + 1) * queries)

    def run(self, context: Context) -> None:
        from bmae_lightning.lit.share import score_pairs
        from bmae_lightning.retrieval.reranking.score_pairs import PairShards
        from bmae_lightning.retrieval.reranking.teacher_scores import FILE, write_teacher_scores

        prepared = Prepared(context.input("corpus"))
        ranking = context.input("ranking")
        positives = relevant_of(self.train_queries.of(prepared.qrels(TRAIN)))
        mined = read_mined(ranking)
        ranked = negatives_from_run(mined.negatives, positives, self.depth)
        negatives = fill_up(ranked, self.least, positives, prepared.passages().external_ids)
        listed = {
            query: list(dict.fromkeys([*relevant, *with_answer(query, *mined), *negatives[query]]))
            for query, relevant in positives.items()
        }
        pairs_P2 = pairs_of(listed, prepared, ranking / f"run.{TRAIN}.trec")
        scorer = open_scorer(context.input("reranker"), prepared, self.batch_tokens)
        shards = PairShards(context.directory / "checkpoints", pairs_P2, self.shard)
        score_pairs(self.trainer, scorer, shards, context.title, context.directory)
        if process_rank() != 0:
            return
        rows = write_teacher_scores(context.directory / FILE, _named(shards, prepared))
        if rows != len(pairs_P2):
            raise BadInput(f"{context.title}: {rows} scores for {len(pairs_P2)} pairs; delete {context.directory}")
        short = sum(len(ranked) < self.depth for ranked in negatives.values())
        counts = {"pairs": rows, "queries": len(listed), "positives": sum(map(len, positives.values())), "short": short}
        print_once(
            f"{context.title}: {rows:,} scores of {len(listed):,} queries, {counts['positives']:,} of them of "
            f"positives; {short:,} queries with fewer than {self.depth} hard negatives"
        )
        self.logger.log(context, counts)
        write_json(context.directory / "metrics.json", counts)


def _named(shards: PairShards, prepared: Prepared) -> Iterator[tuple[list[str], list[str], np.ndarray]]:
    """(query ids, passage ids, scores) of every shard."""
    queries, passages = prepared.queries(), prepared.passages()
    for number, scores in enumerate(shards.read()):
        yield *names(shards.pairs(number), queries, passages), scores


def names(pairs_P2: np.ndarray, queries: TokenStore, passages: TokenStore) -> tuple[list[str], list[str]]:
    """The ids of pairs given as rows; the passages of a query stand together, so that its id is read once."""
    changes = np.flatnonzero(np.diff(pairs_P2[:, 0], prepend=-1))
    runs = np.diff([*changes, len(pairs_P2)])
    found = ([queries.external_id(int(pairs_P2[start, 0]))] * count for start, count in zip(changes, runs, strict=True))
    return list(chain.from_iterable(found)), [passages.external_id(int(row)) for row in pairs_P2[:, 1]]
