"""Let a re-ranker order the best passages of a retriever anew and measure the result (finetuning §3.4)."""

import time
from functools import partial

import numpy as np

from bmae_lightning.evaluation.measure.ranking import check_measures
from bmae_lightning.evaluation.measure.trec import Run, read_run, write_run
from bmae_lightning.lit.scoring import score_pairs
from bmae_lightning.lit.share import check_devices
from bmae_lightning.report.tracking.loggers import Tracking
from bmae_lightning.retrieval.reranking.score_pairs import PairShards
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import write_json
from bmae_lightning.runtime.process import process_rank
from bmae_lightning.runtime.stage import Context, Stage, require_splits
from bmae_lightning.stage.answer_judgments import require_measures
from bmae_lightning.stage.measure_run import measure_run
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.train_reranker import open_scorer


class Rerank(Stage):
    """Writes run.<split>.trec, per_query.<split>.json and the measures.

    Args:
        splits: judged splits.
        measures: in the words of ir_measures.
        depth: ranks that are scored; those below keep their order, below.
        batch_tokens: tokens scored at a time.
        shard: pairs per finished piece, what a killed run loses at most.
        trainer: whose devices share the shards.
        logger: tracking.
    """

    def __init__(
        self, splits: list[str], measures: list[str], depth: int, batch_tokens: int, shard: int, trainer: partial,
        logger: Tracking,
    ) -> None:  # fmt: skip
        for name, value in {"depth": depth, "batch_tokens": batch_tokens, "shard": shard}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.splits, self.measures, self.depth, self.batch_tokens = splits, measures, depth, batch_tokens
        self.shard, self.trainer, self.logger = shard, trainer, logger

    def preflight(self, splits: list[str]) -> None:
        check_measures(self.measures)
        check_devices(self.trainer, self.name)
        require_splits(f"{self.name}.splits", self.splits, splits)

    def run(self, context: Context) -> None:
        prepared = Prepared(context.input("corpus"))
        require_measures(prepared, self.splits, self.measures)
        scorer = open_scorer(context.input("reranker"), prepared, self.batch_tokens)
        runs, pairs = {}, [np.empty((0, 2), dtype=np.int32)]
        for split in self.splits:
            path = context.input("ranking") / f"run.{split}.trec"
            runs[split] = run = read_run(path)
            pairs.append(pairs_of({query: run.passages(query)[: self.depth] for query in run}, prepared, path))
        shards = PairShards(context.directory / "checkpoints", np.concatenate(pairs), self.shard)
        left, started = sum(len(shards.rows(number)) for number in shards.missing()), time.monotonic()
        score_pairs(self.trainer, scorer, shards, context.title, context.directory)
        if process_rank() != 0:
            return
        rate = left / max(time.monotonic() - started, 1e-9)
        scores_P = np.concatenate([np.empty(0, dtype=np.float32), *shards.read()])
        starts = np.cumsum([len(part) for part in pairs])
        results: dict = {"depth": self.depth, "pairs_per_second": rate}
        with self.logger.of(context) as loggers:
            for split, start, end in zip(self.splits, starts, starts[1:], strict=False):
                anew = reranked(runs[split], scores_P[start:end], self.depth)
                write_run(context.directory / f"run.{split}.trec", anew, context.title)
                results[split] = measure_run(context, prepared, split, self.measures)
                for logger in loggers:
                    logger.log_metrics({f"{split}/{name}": v for name, v in results[split]["mean"].items()}, step=0)
        write_json(context.directory / "metrics.json", results)


def reranked(run: Run, scores_P: np.ndarray, depth: int) -> Run:
    """The first `depth` ranks of every query in the order of their new scores, falling, ties as they were; then the rest.

    scores_P: of the first `depth` entries of every query, queries in the order of the run.
    """
    rankings, start = {}, 0
    for query in run:
        passages = run.passages(query)
        top = passages[:depth]
        order = np.argsort(-scores_P[start : start + len(top)], kind="stable")
        start += len(top)
        ranked = [top[i] for i in order] + passages[depth:]
        rankings[query] = [(passage, float(len(ranked) - place)) for place, passage in enumerate(ranked)]
    return Run(rankings)


def pairs_of(ranked: dict[str, list[str]], prepared: Prepared, source: object) -> np.ndarray:
    """(row of the query, row of the passage) of every pair, int32 [P, 2], in the given order.

    Raises:
        BadInput: an id that the prepared corpus does not have; names it and `source`.
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
                f"{source}: the id {error.args[0]!r} (at query {query}) is not in the prepared corpus; rank that corpus again"
            ) from None
        start += len(listed)
    return pairs
