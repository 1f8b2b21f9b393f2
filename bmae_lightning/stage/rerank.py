"""Let a re-ranker order the best passages of a retriever anew and measure the result."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bmae_lightning.evaluation.measure.trec import Run, read_run
from bmae_lightning.runtime.cost import Cost, Sizes
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.process import process_rank
from bmae_lightning.runtime.stage import Context
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.rank import Ranker, RankingStage, Search, Shared
from bmae_lightning.stage.train_reranker import open_scorer, scoring_cost

if TYPE_CHECKING:
    from bmae_lightning.retrieval.reranking.score_pairs import PairScorer


@dataclass(kw_only=True)
class Rerank(RankingStage, Shared):
    """Orders the first `depth` ranks of another stage's ranking by new scores; those below keep their order, below."""

    def cost(self, sizes: Sizes, inputs: Mapping[str, Any]) -> Cost:
        return scoring_cost(inputs["reranker"].config, sizes, self.depth * sizes.judged(self.splits))

    def make_ranker(self, context: Context, prepared: Prepared) -> Ranker:
        scorer = open_scorer(context.input("reranker"), prepared, self.batch_tokens)
        ranker = PairRanker(
            context.title, context.directory, context.input("ranking"), prepared, scorer, self.shard, self.trainer
        )
        ranker.figures["depth"] = self.depth
        return ranker


@dataclass
class PairRanker(Ranker):
    """Re-ranks the runs of another stage by the scores of a cross-encoder.

    Args:
        ranking: directory of the other stage.
        prepared: the corpus.
        scorer: scores pairs of its rows.
        shard: pairs per finished piece.
        trainer: makes Lightning's Trainer, whose devices share the pieces.
    """

    ranking: Path
    prepared: Prepared
    scorer: PairScorer
    shard: int
    trainer: partial

    def rank(self, searches: Sequence[Search], write: Callable[[Search, Run], None]) -> bool:
        from bmae_lightning.lit.share import score_pairs
        from bmae_lightning.retrieval.reranking.score_pairs import PairShards

        runs, pairs = [], [np.empty((0, 2), dtype=np.int32)]
        for search in searches:
            path = self.ranking / search.path.name
            runs.append(run := read_run(path))
            pairs.append(pairs_of({query: run.passages(query)[: search.depth] for query in run}, self.prepared, path))
        shards = PairShards(self.directory / "checkpoints", np.concatenate(pairs), self.shard)
        left, started = sum(len(shards.rows(number)) for number in shards.missing()), time.monotonic()
        score_pairs(self.trainer, self.scorer, shards, self.title, self.directory)
        if process_rank() == 0:
            self.figures["pairs_per_second"] = left / max(time.monotonic() - started, 1e-9)
            scores_P = np.concatenate([np.empty(0, dtype=np.float32), *shards.read()])
            ends = np.cumsum([len(part) for part in pairs])[1:]
            for search, run, part, end in zip(searches, runs, pairs[1:], ends, strict=True):
                write(search, reranked(run, scores_P[end - len(part) : end], search.depth))
        return True


def reranked(run: Run, scores_P: np.ndarray, depth: int) -> Run:
    """The first `depth` ranks of every query ordered by their new scores, falling, ties as they were; then the rest.

    Args:
        scores_P: scores of the first `depth` entries of every query, queries in the order of the run.

    Returns:
        A run with the new scores; below the first `depth` ranks, which have none, they are -inf.
    """
    rankings, start = {}, 0
    for query in run:
        passages = run.passages(query)
        scores = scores_P[start : start + min(depth, len(passages))]
        start += len(scores)
        order = np.argsort(-scores, kind="stable")
        ranked = [(passages[i], float(scores[i])) for i in order]
        rankings[query] = ranked + [(passage, -math.inf) for passage in passages[len(scores) :]]
    return Run(rankings)


def pairs_of(ranked: dict[str, list[str]], prepared: Prepared, source: object) -> np.ndarray:
    """(row of the query, row of the passage) of every pair, int32 [P, 2], in the given order.

    Raises:
        BadInput: an id that the prepared corpus does not have; the message names it and `source`.
    """
    queries, passages = prepared.queries(), prepared.passages()
    pairs = np.empty((sum(map(len, ranked.values())), 2), dtype=np.int32)
    start = 0
    for query, listed in ranked.items():
        try:
            pairs[start : start + len(listed), 0] = queries.row_of(query)
            pairs[start : start + len(listed), 1] = passages.rows_of(listed)
        except KeyError as error:
            raise BadInput(
                f"{source}: the id {error.args[0]!r} (at query {query}) is not in the prepared corpus; rank that "
                "corpus again"
            ) from None
        start += len(listed)
    return pairs
