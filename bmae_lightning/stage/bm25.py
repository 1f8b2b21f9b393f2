"""Rank with BM25: the pool of hard negatives for training queries, and the baseline row of every table."""

from bmae_lightning.evaluation.measure.ranking import TRAIN, check_measures
from bmae_lightning.evaluation.measure.trec import write_run
from bmae_lightning.report.tracking.loggers import Tracking
from bmae_lightning.retrieval.index.bm25 import Bm25
from bmae_lightning.runtime.files import write_json
from bmae_lightning.runtime.progress import track
from bmae_lightning.runtime.stage import Context, Stage, require_splits
from bmae_lightning.stage.answer_judgments import judge_by_answers, require_measures
from bmae_lightning.stage.measure_run import measure_run
from bmae_lightning.stage.prepared import Prepared


class Bm25Ranking(Stage):
    """Writes run.<split>.trec for the training split and the evaluated ones, and the measures of the latter.

    Args:
        ranker: BM25 with its settings.
        train_depth, depth: ranks kept for training queries and for evaluated queries.
        splits: evaluated splits.
        measures: in the words of ir_measures.
        logger: tracking.
    """

    def __init__(
        self, ranker: Bm25, train_depth: int, depth: int, splits: list[str], measures: list[str], logger: Tracking
    ) -> None:
        self.ranker, self.train_depth, self.depth = ranker, train_depth, depth
        self.splits, self.measures, self.logger = splits, measures, logger

    def preflight(self, splits: list[str]) -> None:
        check_measures(self.measures)
        require_splits("bm25.splits", self.splits, splits)

    def run(self, context: Context) -> None:
        prepared = Prepared(context.input("corpus"))
        require_measures(prepared, self.splits, self.measures)
        judged = {split: prepared.qrels(split) for split in self.splits}
        self.ranker.index((text for _, text in prepared.texts()), list(prepared.passages().external_ids))
        results = {}
        with self.logger.of(context) as loggers:
            depths = ({TRAIN: self.train_depth} if TRAIN in prepared.splits else {}) | dict.fromkeys(
                self.splits, self.depth
            )
            for split, depth in depths.items():
                qrels = judged.get(split) or prepared.qrels(split)
                queries = prepared.query_texts(set(qrels))
                with track(f"{context.title}: {split}", len(queries), unit="queries") as advance:
                    run = self.ranker.search(list(queries), list(queries.values()), depth, advance)
                if split == TRAIN and prepared.answers(split):
                    judge_by_answers(context.directory, context.title, prepared, split, run)
                write_run(context.directory / f"run.{split}.trec", run, "bm25")
                if split in judged:
                    results[split] = measure_run(context, prepared, split, self.measures)
            for logger in loggers:
                logger.log_metrics({f"{s}/{m}": v for s, r in results.items() for m, v in r["mean"].items()}, step=0)
        write_json(context.directory / "metrics.json", results)
