"""A retriever from elsewhere on the queries of this run: its row stands beside the arms, measured as they are."""

from functools import partial
from typing import Any

from bmae_lightning.evaluation.measure.ranking import check_measures
from bmae_lightning.evaluation.measure.trec import write_run
from bmae_lightning.lit.share import check_devices
from bmae_lightning.report.tracking.loggers import Tracking
from bmae_lightning.retrieval.foreign_model import Retriever, find_retriever
from bmae_lightning.retrieval.index.exact import ExactIndex
from bmae_lightning.retrieval.index.faiss import FaissIndex
from bmae_lightning.retrieval.model_options import ModelOptions
from bmae_lightning.runtime.files import write_json
from bmae_lightning.runtime.process import process_rank
from bmae_lightning.runtime.stage import Context, Stage, require_splits
from bmae_lightning.stage.answer_judgments import require_measures
from bmae_lightning.stage.measure_run import measure_run
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.rank import Settings, Texts, judged_queries, make_ranker


class External(Stage):
    """Writes run.<split>.trec, per_query.<split>.json and the measures; its vectors and token store are not kept.

    Args:
        model: options by name (`external.options.ModelOptions`).
        splits: judged splits to search for.
        index: exact or faiss.
        measures: in the words of ir_measures.
        depth: ranks kept.
        batch_tokens, shard, trainer: as `ranker.Settings`.
        logger: tracking.
    """

    def __init__(
        self, splits: list[str], index: ExactIndex | FaissIndex, measures: list[str], depth: int, batch_tokens: int,
        shard: int, trainer: partial, logger: Tracking, model: dict[str, Any],
    ) -> None:  # fmt: skip
        if depth < 1:
            raise ValueError(f"depth must be at least 1, got {depth}")
        self.options = ModelOptions(**model)
        self.splits, self.measures, self.depth, self.logger = splits, measures, depth, logger
        self.settings = Settings(index, batch_tokens, shard, trainer)

    def preflight(self, splits: list[str]) -> None:
        check_measures(self.measures)
        check_devices(self.settings.trainer, self.name)
        require_splits(f"{self.name}.splits", self.splits, splits)
        self._retriever()

    def run(self, context: Context) -> None:
        prepared, retriever = Prepared(context.input("corpus")), self._retriever()
        require_measures(prepared, self.splits, self.measures)
        texts = Texts(prepared.source(), context.directory / "tokens", prepared.passages())
        ranker = make_ranker(context.title, context.directory, retriever, self.settings)
        ranker.index(texts)
        if process_rank() != 0:
            return
        results: dict[str, Any] = {"model": retriever.record()}
        for split in self.splits:
            queries = judged_queries(texts.collection, prepared.qrels(split))
            write_run(context.directory / f"run.{split}.trec", ranker.search(queries, self.depth), context.title)
            results[split] = measure_run(context, prepared, split, self.measures)
        if ranker.rate:
            results["passages_per_second"] = ranker.rate
        ranker.free()
        texts.free()
        with self.logger.of(context) as loggers:
            for logger in loggers:
                for split in self.splits:
                    logger.log_metrics({f"{split}/{name}": v for name, v in results[split]["mean"].items()}, step=0)
        write_json(context.directory / "metrics.json", results)

    def _retriever(self) -> Retriever:
        name = self.options.name
        return find_retriever(self.options.label or name, self.options, f"compare ({name})")
