"""Rank queries, write TREC runs and measure them: what bm25, evaluate, external, rerank, zero_shot and refresh share.

A `Ranker` finds the passages; `RankingStage` is the stage around one, from the splits to the measures.
"""

import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from bmae_lightning.evaluation.measure.ranking import TRAIN, Measures, check_measures, measures_of
from bmae_lightning.evaluation.measure.scores import write_scored
from bmae_lightning.evaluation.measure.trec import Run, write_run
from bmae_lightning.lit.fit import make_trainer
from bmae_lightning.report.tracking.loggers import Tracking
from bmae_lightning.retrieval.negatives.source import QueryShare
from bmae_lightning.runtime.checks import at_least
from bmae_lightning.runtime.files import write_json
from bmae_lightning.runtime.process import process_rank
from bmae_lightning.runtime.stage import Context, Stage, require_splits
from bmae_lightning.stage.answer_judgments import judge_by_answers, require_measures
from bmae_lightning.stage.measure_run import measure_run
from bmae_lightning.stage.prepared import Prepared


@dataclass(frozen=True)
class Search:
    """A ranking that is wanted.

    Attributes:
        split: name of the queries in messages and files.
        queries: their ids.
        depth: ranks kept; a re-ranker orders so many anew.
        path: where the TREC run is written.
    """

    split: str
    queries: Sequence[str]
    depth: int
    path: Path

    @property
    def done(self) -> bool:
        """Whether the run was written before the stage was interrupted."""
        return self.path.is_file()


@dataclass
class Ranker(ABC):
    """Ranks passages for queries. Work that takes long lies in files of `directory`, so that a killed run continues.

    Attributes:
        title: of the stage, for progress.
        directory: of the files.
        figures: what `metrics.json` says of the whole ranking, for example `passages_per_second`.
        costs: split -> what `metrics.json` says of its search.
    """

    title: str
    directory: Path
    figures: dict[str, Any] = field(default_factory=dict, init=False)
    costs: dict[str, dict[str, float]] = field(default_factory=dict, init=False)

    @abstractmethod
    def rank(self, searches: Sequence[Search], write: Callable[[Search, Run], None]) -> bool:
        """Hand the run of every search that is not done to `write`.

        All processes call it; only the first one writes. Returns False in a process that was asked to stop.
        """

    def free(self) -> None:
        """Delete all files but the runs; the memory goes with the ranker."""
        for name in ("passages.*", "checkpoints", "tokens"):
            for path in self.directory.glob(name):
                shutil.rmtree(path) if path.is_dir() else path.unlink()


def write_ranking(title: str, prepared: Prepared, search: Search, run: Run) -> None:
    """Write a run; where training questions have answers, first the judgments of what was found by their text."""
    search.path.parent.mkdir(parents=True, exist_ok=True)
    if search.split == TRAIN and prepared.answers(TRAIN):
        judge_by_answers(search.path.parent, title, prepared, TRAIN, run)
    if search.split == TRAIN:  # for mining: hundreds of ranks of every training query, of which only the order is read
        write_run(search.path, run, title)
    else:
        write_scored(search.path, run, title)


@dataclass(kw_only=True)
class Shared:
    """Options of work that the devices of a trainer share, piece by piece: how many there are changes no digit.

    Args:
        batch_tokens: word pieces given to the model at a time.
        shard: passages, or pairs, per finished piece: what a killed run loses at most in each process.
        trainer: makes Lightning's Trainer, whose devices share the pieces.
    """

    batch_tokens: int
    shard: int
    trainer: partial

    def check_sizes(self) -> None:
        """Raise ValueError for a size that is too small."""
        at_least(1, batch_tokens=self.batch_tokens, shard=self.shard)


@dataclass(kw_only=True)
class RankingStage(Stage):
    """Writes run.<split>.trec, scores.<split>.parquet, per_query.<split>.json, metrics.json, and with `train_depth`
    run.train.trec (mining).

    Args:
        splits: judged splits.
        measures: names that ir_measures knows, a list or by split.
        depth: ranks kept.
        logger: makes the loggers of a run.
        train_depth: ranks kept for training queries, 0 not to search for them.
        train_queries: which training queries are searched for.

    Raises:
        ValueError: a depth or a size that is too small.
    """

    splits: list[str]
    measures: Measures
    depth: int
    logger: Tracking
    train_depth: int = 0
    train_queries: QueryShare = field(default_factory=QueryShare)

    keeps_index = True
    """Whether vectors and tokens stay when the stage is done, and metrics.json says what a search of them costs."""

    def __post_init__(self) -> None:
        at_least(1, depth=self.depth)
        at_least(0, train_depth=self.train_depth)
        if isinstance(self, Shared):
            self.check_sizes()

    @abstractmethod
    def make_ranker(self, context: Context, prepared: Prepared) -> Ranker:
        """What ranks."""

    def preflight(self, splits: list[str]) -> None:
        require_splits(f"{self.name}.splits", self.splits, splits)
        check_measures(self.measures, self.splits)
        if isinstance(self, Shared):
            make_trainer(self.trainer, self.name)  # devices that do not exist are told here

    def depths(self, prepared: Prepared) -> dict[str, int]:
        """Split -> ranks kept, the training split first."""
        mined = {TRAIN: self.train_depth} if self.train_depth and TRAIN in prepared.splits else {}
        return mined | dict.fromkeys(self.splits, self.depth)

    def searches(self, context: Context, prepared: Prepared) -> list[Search]:
        found = []
        for split, depth in self.depths(prepared).items():
            qrels = prepared.qrels(split)
            queries = list(qrels if split in self.splits else self.train_queries.of(qrels))
            found.append(Search(split, queries, depth, context.directory / f"run.{split}.trec"))
        return found

    def run(self, context: Context) -> None:
        prepared = Prepared(context.input("corpus"))
        require_measures(prepared, {split: measures_of(self.measures, split) for split in self.splits})
        ranker = self.make_ranker(context, prepared)
        ranker.rank(self.searches(context, prepared), partial(write_ranking, context.title, prepared))
        if process_rank() != 0:
            return
        results, logged = dict(ranker.figures), {}
        for split in self.splits:
            measured = measure_run(context, prepared, split, measures_of(self.measures, split))
            results[split] = measured | (ranker.costs.get(split, {}) if self.keeps_index else {})
            logged |= {f"{split}/{name}": value for name, value in measured["mean"].items()}
        if not self.keeps_index:
            ranker.free()
        rates = {name: value for name, value in ranker.figures.items() if name.endswith("_per_second")}
        self.logger.log(context, logged | rates)
        write_json(context.directory / "metrics.json", results)
