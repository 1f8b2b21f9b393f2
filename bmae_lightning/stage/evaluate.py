"""Index the corpus with a retriever, search for every judged query, write a TREC run, measure it.

The same search over the training queries is mining: its ranking holds the hard negatives of the next rung. Passages and
queries come in shards of a fixed size, which the devices share: how many there are changes no digit.
"""

import time
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np

from bmae_lightning.evaluation.measure.ranking import TRAIN, check_measures
from bmae_lightning.evaluation.measure.trec import write_run
from bmae_lightning.lit.share import Process, check_devices, share
from bmae_lightning.report.tracking.loggers import Tracking
from bmae_lightning.retrieval.dual_encoder import load_dual_encoder
from bmae_lightning.retrieval.encode import encode_shards
from bmae_lightning.retrieval.index.exact import ExactIndex
from bmae_lightning.retrieval.index.faiss import FaissIndex
from bmae_lightning.retrieval.negatives.source import QueryShare
from bmae_lightning.retrieval.search import FoundShards, check_index, check_lexical, search
from bmae_lightning.retrieval.vector_files import VectorShards
from bmae_lightning.runtime.files import write_json
from bmae_lightning.runtime.process import print_once, process_rank
from bmae_lightning.runtime.stage import Context, Stage, require_splits
from bmae_lightning.stage.answer_judgments import judge_by_answers, require_measures
from bmae_lightning.stage.measure_run import measure_run
from bmae_lightning.stage.prepared import Prepared


class Evaluate(Stage):
    """Writes passages.npy (vectors; a lexical part beside it), run.<split>.trec, per_query.<split>.json and the measures.

    With `train_depth` it mines: run.train.trec is written too.

    Args:
        splits: judged splits to search for.
        index: exact or faiss; a faiss index is built and searched by the first process alone.
        measures: in the words of ir_measures.
        depth: ranks kept.
        train_depth: ranks kept for training queries, 0 not to search for them.
        batch_tokens: word pieces encoded at a time.
        shard: passages encoded per finished piece, what a killed run loses at most in each process.
        query_shard: queries searched for per finished piece.
        trainer: whose devices share the pieces.
        logger: tracking.
        train_queries: those that are searched for in mining.
    """

    def __init__(
        self, splits: list[str], index: ExactIndex | FaissIndex, measures: list[str], depth: int, batch_tokens: int,
        shard: int, query_shard: int, trainer: partial, logger: Tracking, train_depth: int = 0,
        train_queries: QueryShare | None = None,
    ) -> None:  # fmt: skip
        for name, value in {"depth": depth, "shard": shard, "query_shard": query_shard}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if train_depth < 0:
            raise ValueError(f"train_depth must be at least 0 (no mining), got {train_depth}")
        self.splits, self.index, self.measures, self.depth = splits, index, measures, depth
        self.batch_tokens, self.shard, self.query_shard = batch_tokens, shard, query_shard
        self.trainer, self.logger, self.train_depth = trainer, logger, train_depth
        self.train_queries = train_queries or QueryShare()

    def preflight(self, splits: list[str]) -> None:
        check_measures(self.measures)
        check_devices(self.trainer, self.name)
        require_splits(f"{self.name}.splits", self.splits, splits)
        require_splits(f"{self.name}.train_depth", [TRAIN] * bool(self.train_depth), splits)

    def check_inputs(self, inputs: Mapping[str, Any]) -> None:
        trained = getattr(inputs.get("retriever"), "config", {})
        check_lexical(self.index, (trained.get("representation") or {}).get("lexical", 0))

    def run(self, context: Context) -> None:
        prepared = Prepared(context.input("corpus"))
        require_measures(prepared, self.splits, self.measures)
        model, config = load_dual_encoder(context.input("retriever") / "retriever")
        passages, queries = prepared.passages(), prepared.queries()
        config.require(context.input("retriever"), {}, tokenizer=passages.tokenizer_digest)
        check_index(self.index, model)
        vectors = VectorShards(context.directory / "passages.npy", model, passages, config.passage_length, self.shard)
        if process_rank() == 0:
            vectors.claim()
        searches = self._searches(context, prepared)
        speeds: dict[str, float] = {}

        def work(process: Process) -> None:
            process.wait_for(vectors.claimed)
            left, started = sum(len(vectors.rows(number)) for number in vectors.missing()), time.monotonic()
            with process.track(f"{context.title}: encoding", vectors, "passages") as advance:
                encode_shards(
                    model, passages, vectors, config.passage_length, self.batch_tokens, process.device, advance,
                    process.rank, process.world,
                )  # fmt: skip
            if process.rank == 0:
                process.wait_for(lambda: not vectors.missing())
                if left:
                    speeds["passages_per_second"] = left / (time.monotonic() - started)
                vectors.assemble()
            process.wait_for(vectors.complete)
            encoded = vectors.open()
            for split, shards in searches.items():
                seconds, numbers = 0.0, shards.missing(process.rank, process.world)
                with process.track(f"{context.title}: {split}", shards, "queries") as advance:
                    for number in numbers:
                        found = search(
                            self.index, model, encoded, queries, shards.queries_of(number), config.query_length,
                            self.batch_tokens, process.device, self._depths()[split], advance,
                        )  # fmt: skip
                        shards.write_found(number, found)
                        seconds += found.seconds
                if numbers:
                    speeds[split] = 1000 * seconds / sum(len(shards.rows(number)) for number in numbers)
            if process.rank == 0:
                process.wait_for(lambda: not any(shards.missing() for shards in searches.values()))

        share(self.trainer, model, work, context.title, context.directory, precision="32-true")
        if process_rank() != 0:
            return
        for split, shards in searches.items():
            run = shards.run(self._queries(prepared, split), passages.external_ids)
            if split == TRAIN and prepared.answers(split):
                judge_by_answers(context.directory, context.title, prepared, split, run)
            write_run(context.directory / f"run.{split}.trec", run, context.title)
        results: dict[str, Any] = {"index_bytes": sum(part.nbytes for part in vectors.open() if part is not None)}
        if rate := speeds.get("passages_per_second"):
            results["passages_per_second"] = rate
        with self.logger.of(context) as loggers:
            for split in self.splits:
                results[split] = measure_run(context, prepared, split, self.measures)
                if split in speeds:
                    results[split]["milliseconds_per_query"] = speeds[split]
                for logger in loggers:
                    logger.log_metrics({f"{split}/{name}": v for name, v in results[split]["mean"].items()}, step=0)
            for logger in loggers if rate else []:
                logger.log_metrics({"passages_per_second": rate}, step=0)
        write_json(context.directory / "metrics.json", results)

    def _searches(self, context: Context, prepared: Prepared) -> dict[str, FoundShards]:
        """What is still to be searched for by split: all but what was ranked before the stage was interrupted."""
        passages, queries, searches = len(prepared.passages()), prepared.queries(), {}
        for split, depth in self._depths().items():
            if (context.directory / f"run.{split}.trec").is_file():
                continue
            if depth > passages:
                key = "depth" if split in self.splits else "train_depth"
                print_once(
                    f"{context.title}: {key}={depth:,} is more than there are passages; all {passages:,} are ranked"
                )
            rows = np.array([queries.row_of(query) for query in self._queries(prepared, split)])
            size = self.query_shard if isinstance(self.index, ExactIndex) else max(1, len(rows))
            directory = context.directory / "checkpoints" / split
            searches[split] = FoundShards(directory, rows, size, min(depth, passages))
        return searches

    def _queries(self, prepared: Prepared, split: str) -> list[str]:
        """Whom the split is searched for."""
        qrels = prepared.qrels(split)
        return list(qrels if split in self.splits else self.train_queries.of(qrels))

    def _depths(self) -> dict[str, int]:
        """Which splits are searched for, and how deep."""
        return ({TRAIN: self.train_depth} if self.train_depth else {}) | dict.fromkeys(self.splits, self.depth)
