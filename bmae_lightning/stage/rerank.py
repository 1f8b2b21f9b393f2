"""Let a re-ranker order the best passages of a retriever anew and measure the result (finetuning §3.4)."""

import time

import numpy as np

from bmae_lightning.errors import BadInput
from bmae_lightning.measure.ranking import check_measures
from bmae_lightning.progress import track
from bmae_lightning.run import Run, read_run, write_run
from bmae_lightning.scoring import score_shards
from bmae_lightning.stage.bm25 import measure_run
from bmae_lightning.stage.context import Context, Stage, device_of, require_splits, write_json
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.reranker import open_scorer
from bmae_lightning.tracking.loggers import Tracking


class Rerank(Stage):
    """Writes run.<split>.trec, per_query.<split>.json and the measures.

    Args:
        splits: judged splits.
        measures: in the words of ir_measures.
        depth: ranks that are scored; those below keep their order, below.
        batch_tokens: tokens scored at a time.
        shard: pairs per finished piece, what a killed run loses at most.
        device: `cpu`, `gpu` or `auto`.
        logger: tracking.
    """

    def __init__(
        self, splits: list[str], measures: list[str], depth: int, batch_tokens: int, shard: int, device: str,
        logger: Tracking,
    ) -> None:  # fmt: skip
        for name, value in {"depth": depth, "batch_tokens": batch_tokens, "shard": shard}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.splits, self.measures, self.depth, self.batch_tokens = splits, measures, depth, batch_tokens
        self.shard, self.device, self.logger = shard, device, logger

    def preflight(self, splits: list[str]) -> None:
        check_measures(self.measures)
        require_splits(f"{self.name}.splits", self.splits, splits)

    def run(self, context: Context) -> None:
        prepared = Prepared(context.input("corpus"))
        scorer = open_scorer(context.input("reranker"), prepared, self.batch_tokens, device_of(self.device))
        results: dict = {}
        with self.logger.of(context) as loggers:
            for split in self.splits:
                path = context.input("ranking") / f"run.{split}.trec"
                run = read_run(path)
                pairs_P2 = pairs_of({query: run.passages(query)[: self.depth] for query in run}, prepared, path)
                started = time.monotonic()
                with track(f"{context.title}: {split}", len(pairs_P2), unit="pairs") as advance:
                    parts = score_shards(
                        scorer, pairs_P2, self.shard, context.directory / "checkpoints" / split, advance
                    )
                    scores_P = np.concatenate([np.empty(0, dtype=np.float32), *parts])
                seconds = time.monotonic() - started
                write_run(context.directory / f"run.{split}.trec", reranked(run, scores_P, self.depth), context.title)
                results[split] = measure_run(context, prepared, split, self.measures)
                results[split]["milliseconds_per_query"] = 1000 * seconds / max(len(run), 1)
                results["depth"], results["pairs_per_second"] = self.depth, len(pairs_P2) / max(seconds, 1e-9)
            for logger in loggers:
                for split in self.splits:
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
        rankings[query] = [(passage, float(len(ranked) - rank)) for rank, passage in enumerate(ranked)]
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
            pairs[start : start + len(listed), 1] = [passages.row_of(passage) for passage in listed]
        except KeyError as error:
            raise BadInput(
                f"{source}: the id {error.args[0]!r} (at query {query}) is not in the prepared corpus; rank that corpus again"
            ) from None
        start += len(listed)
    return pairs
