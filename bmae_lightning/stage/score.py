"""Let the re-ranker score every training pair that distillation may draw: all positives, all hard negatives (finetuning §3.5)."""

from collections.abc import Mapping
from functools import partial
from itertools import chain

import numpy as np

from bmae_lightning.evaluation.measure.ranking import TRAIN
from bmae_lightning.lit.scoring import score_pairs
from bmae_lightning.lit.share import check_devices
from bmae_lightning.report.tracking.loggers import Tracking
from bmae_lightning.retrieval.negatives.hard_negatives import negatives_from_run
from bmae_lightning.retrieval.negatives.positives import with_answer
from bmae_lightning.retrieval.negatives.source import QueryShare
from bmae_lightning.retrieval.reranking.score_pairs import PairShards
from bmae_lightning.retrieval.reranking.teacher_scores import FILE, write_teacher_scores
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import write_json
from bmae_lightning.runtime.process import print_once, process_rank
from bmae_lightning.runtime.stage import Context, Stage, require_splits
from bmae_lightning.stage.mined_negatives import read_mined
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.rerank import pairs_of
from bmae_lightning.stage.train_reranker import open_scorer


class Score(Stage):
    """Writes scores.parquet: query id, passage id, the re-ranker's raw score.

    Args:
        depth: passages scored per training query beside its positives and those with an answer: the first of its ranking
            that are neither.
        batch_tokens: tokens scored at a time.
        shard: pairs per finished piece, what a killed run loses at most.
        trainer: whose devices share the shards.
        logger: tracking.
        train_queries: those whose pairs are scored.
    """

    def __init__(
        self, depth: int, batch_tokens: int, shard: int, trainer: partial, logger: Tracking,
        train_queries: QueryShare | None = None,
    ) -> None:  # fmt: skip
        for name, value in {"depth": depth, "batch_tokens": batch_tokens, "shard": shard}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.depth, self.batch_tokens, self.shard = depth, batch_tokens, shard
        self.trainer, self.logger, self.train_queries = trainer, logger, train_queries or QueryShare()

    def preflight(self, splits: list[str]) -> None:
        check_devices(self.trainer, self.name)
        require_splits(self.name, [TRAIN], splits)

    def check_inputs(self, inputs: Mapping[str, object]) -> None:
        ranking = inputs.get("ranking")
        if not getattr(ranking, "config", {}).get("train_depth", 1):
            raise BadInput(
                f"{self.name} scores the ranking of training queries, which {getattr(ranking, 'stage', 'its input')} does "
                "not make: set its train_depth=200"
            )

    def run(self, context: Context) -> None:
        prepared = Prepared(context.input("corpus"))
        path = context.input("ranking") / f"run.{TRAIN}.trec"
        qrels = self.train_queries.of(prepared.qrels(TRAIN))
        positives = {query: [p for p, grade in marks.items() if grade > 0] for query, marks in qrels.items()}
        positives = {query: relevant for query, relevant in positives.items() if relevant}
        mined = read_mined(path.parent)
        negatives = negatives_from_run(mined.negatives, positives, self.depth)
        listed = {
            query: list(dict.fromkeys([*relevant, *with_answer(query, *mined), *negatives[query]]))
            for query, relevant in positives.items()
        }
        pairs_P2 = pairs_of(listed, prepared, path)
        scorer = open_scorer(context.input("reranker"), prepared, self.batch_tokens)
        shards = PairShards(context.directory / "checkpoints", pairs_P2, self.shard)
        score_pairs(self.trainer, scorer, shards, context.title, context.directory)
        if process_rank() != 0:
            return
        queries, passages = prepared.queries(), prepared.passages()

        def parts():
            start = 0
            for scores in shards.read():
                part_P2 = pairs_P2[start : start + len(scores)]
                start += len(scores)
                yield *names(part_P2, queries, passages), scores

        rows = write_teacher_scores(context.directory / FILE, parts())
        if rows != len(pairs_P2):
            raise BadInput(f"{context.title}: {rows} scores for {len(pairs_P2)} pairs; delete {context.directory}")
        short = sum(len(ranked) < self.depth for ranked in negatives.values())
        counts = {"pairs": rows, "queries": len(listed), "positives": sum(map(len, positives.values())), "short": short}
        print_once(
            f"{context.title}: {rows:,} scores of {len(listed):,} queries, {counts['positives']:,} of them of positives; "
            f"{short:,} queries with fewer than {self.depth} hard negatives"
        )
        with self.logger.of(context) as loggers:
            for logger in loggers:
                logger.log_metrics(counts, step=0)
        write_json(context.directory / "metrics.json", counts)


def names(pairs_P2: np.ndarray, queries, passages) -> tuple[list[str], list[str]]:
    """The ids of pairs given as rows; a query's passages stand together, so its id is read once."""
    changes = np.flatnonzero(np.diff(pairs_P2[:, 0], prepend=-1))
    runs = np.diff([*changes, len(pairs_P2)])
    found = ([queries.external_id(int(pairs_P2[start, 0]))] * count for start, count in zip(changes, runs, strict=True))
    return list(chain.from_iterable(found)), [passages.external_id(int(row)) for row in pairs_P2[:, 1]]
