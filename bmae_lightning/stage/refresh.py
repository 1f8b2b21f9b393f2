"""Iterative mining (ANCE, docs/finetuning.md §4.1): a retriever that is being trained ranks the corpus for its training
queries again and again, and goes on with the hard negatives of its newest ranking.

Training runs in segments. Round 0 is the ranking that the stage was given; round k is made by the weights at the end of
segment k - 1. Optimiser, schedule and order of the queries go on as if there were one segment.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bmae_lightning.evaluation.measure.ranking import TRAIN
from bmae_lightning.retrieval.negatives.source import Groups
from bmae_lightning.retrieval.retriever_config import RetrieverConfig
from bmae_lightning.runtime.checks import at_least
from bmae_lightning.runtime.process import print_once, process_rank
from bmae_lightning.stage.mined_negatives import read_mined
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.rank import Search, write_ranking
from bmae_lightning.stage.rankers import DualEncoderRanker, Encoding

if TYPE_CHECKING:
    from bmae_lightning.retrieval.dual_encoder import DualEncoder


@dataclass(kw_only=True)
class Refresh:
    """`refresh:` of a fine-tuning stage.

    Args:
        every_steps: steps between two rankings.
        every_epochs: the same in passes over the training queries; both None for no ranking but the given one.
        depth: ranks kept, positives among them.
        batch_tokens: word pieces encoded at a time.
        shard, query_shard: passages encoded and queries searched for per finished piece.

    Raises:
        ValueError: both `every_steps` and `every_epochs`, or a number that is too small.
    """

    every_steps: int | None = None
    every_epochs: float | None = None
    depth: int = 200
    batch_tokens: int = 4096
    shard: int = 65_536
    query_shard: int = 4096

    def __post_init__(self) -> None:
        if self.every_steps is not None and self.every_epochs is not None:
            raise ValueError(f"give either every_steps or every_epochs, got {self.every_steps} and {self.every_epochs}")
        if self.every_epochs is not None and self.every_epochs <= 0:
            raise ValueError(f"every_epochs must be above 0, got {self.every_epochs}")
        at_least(1, **{name: value for name, value in vars(self).items() if name != "every_epochs"})

    @property
    def on(self) -> bool:
        return self.every_steps is not None or self.every_epochs is not None

    def rounds(self, steps: float, queries: float, batch_size: int) -> float:
        """How often the corpus is ranked anew, for an estimate."""
        return (steps - 1) // (self.every_steps or self.every_epochs * queries / batch_size) if self.on else 0

    def ends(self, steps: int, queries: int, batch_size: int) -> list[int]:
        """The last step of every segment."""
        if not self.on:
            return [steps]
        every = self.every_steps or self.every_epochs * queries / batch_size
        inner = (int(np.ceil(every * count)) for count in range(1, int(steps / every) + 1))
        return [*sorted({end for end in inner if end < steps}), steps]


@dataclass(frozen=True)
class Rounds:
    """The rankings of one training: `round-<k>/run.train.trec` in the stage's directory, k from 1.

    Attributes:
        refresh: its options.
        directory: of the stage.
        title: of the stage, for messages.
        prepared: the corpus.
        config: lengths of texts.
    """

    refresh: Refresh
    directory: Path
    title: str
    prepared: Prepared
    config: RetrieverConfig

    def forget(self, first: int) -> None:
        """Remove what an earlier attempt made of the rounds from `first` on; it got further than its checkpoints."""
        for directory in (self.directory, self.directory / "checkpoints"):
            for path in directory.glob("round-*"):
                if int(path.name.partition("-")[2]) >= first:
                    shutil.rmtree(path)

    def renew(self, number: int, trainer: partial, model: DualEncoder, groups: Groups) -> bool:
        """Let `groups` draw from a round's ranking, made by `model` if it is not there yet.

        All processes of the trainer share the work, as in the evaluate stage. Returns False in a process that was asked
        to stop and leaves silently, as the first one says it.

        Raises:
            Interrupted: asked to stop; finished pieces are kept.
        """
        path = self.directory / f"round-{number}" / f"run.{TRAIN}.trec"
        if not path.is_file() and not self._mine(number, path, trainer, model, groups.ids):
            return False
        groups.renew(read_mined(path.parent).negatives, self.refresh.depth)
        print_once(
            f"{self.title}: round {number}, hard negatives from its own ranking; {groups.short:,} queries with fewer "
            f"than {groups.size - 1}"
        )
        return True

    def _mine(self, number: int, path: Path, trainer: partial, model: DualEncoder, ids: Sequence[str]) -> bool:
        """Rank the corpus for the training queries; the vectors are deleted afterwards."""
        import torch

        from bmae_lightning.retrieval.index.exact import ExactIndex

        title, directory = f"{self.title}: round {number}", self.directory / "checkpoints" / path.parent.name
        refresh, queries = self.refresh, self.prepared.queries()
        encoding = Encoding(
            index=ExactIndex(), batch_tokens=refresh.batch_tokens, shard=refresh.shard, trainer=trainer,
            query_shard=refresh.query_shard,
        )  # fmt: skip
        ranker = DualEncoderRanker(
            title, directory, model, self.config, self.prepared.passages(), lambda search: (queries, search.queries),
            encoding,
        )  # fmt: skip
        write = partial(write_ranking, title, self.prepared)
        if not ranker.rank([Search(TRAIN, ids, refresh.depth, path)], write):
            return False
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.barrier()  # every process has closed the vectors
        if process_rank() == 0:
            shutil.rmtree(directory)
        return True
