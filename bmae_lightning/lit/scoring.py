"""Score all pairs with a cross-encoder: shards over devices and nodes, finished ones skipped, a clean stop on SIGTERM."""

from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, IterableDataset

from bmae_lightning.errors import Interrupted
from bmae_lightning.lit.fit import make_trainer, quiet_lightning, sigterm_restored
from bmae_lightning.lit.generate import Watch
from bmae_lightning.scoring import PairScorer, PairShards


class MissingShards(IterableDataset):
    """Numbers of one process's unfinished shards."""

    def __init__(self, shards: PairShards, rank: int, world: int) -> None:
        self.shards, self.rank, self.world = shards, rank, world

    def __iter__(self) -> Iterator[int]:
        yield from self.shards.missing(self.rank, self.world)


class ScoringData(pl.LightningDataModule):
    """Serves each process the numbers of its shards."""

    def __init__(self, shards: PairShards) -> None:
        super().__init__()
        self.shards = shards

    def predict_dataloader(self) -> DataLoader:
        return DataLoader(
            MissingShards(self.shards, self.trainer.global_rank, self.trainer.world_size), batch_size=None
        )


class ScoringModule(pl.LightningModule):
    """Writes one shard per step; in 32 bit whatever the trainer's precision, as 16 bits would make scores equal.

    Args:
        scorer: with its cross-encoder.
        shards: the pairs, and where scores are written.
    """

    def __init__(self, scorer: PairScorer, shards: PairShards) -> None:
        super().__init__()
        self.model, self.scorer, self.shards = scorer.model, scorer, shards
        self.advance: Callable[[int], None] = lambda count: None
        self.asked_to_stop: Callable[[], bool] = lambda: False
        self.leaves_silently = False  # as in generation

    def predict_step(self, number: int, index: int) -> None:
        if self.asked_to_stop() and self.leaves_silently:
            return
        with torch.autocast(self.device.type, enabled=False):
            scores = self.scorer(self.shards.pairs(number), self._advance, str(self.device))
        self.shards.write(number, scores)

    def _advance(self, count: int) -> None:
        if self.asked_to_stop() and not self.leaves_silently:
            raise Interrupted(
                f"asked to stop: {self.shards.count - len(self.shards.missing())} of {self.shards.count} shards are "
                "written; run the same command again to continue"
            )
        self.advance(count)


def score_pairs(trainer: partial, scorer: PairScorer, shards: PairShards, label: str, directory: Path) -> None:
    """Write every shard that is not there yet, on all devices of the trainer; the first process returns when all are.

    Raises:
        BadInput: devices that do not exist.
        Interrupted: asked to stop; finished shards are kept.
    """
    quiet_lightning()
    built = make_trainer(
        trainer,
        label,
        logger=False,
        callbacks=[Watch(shards, label, "pairs")],
        default_root_dir=directory,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    with sigterm_restored():
        built.predict(ScoringModule(scorer, shards), datamodule=ScoringData(shards), return_predictions=False)


def check_devices(trainer: partial, label: str) -> None:
    """Raise BadInput if the trainer cannot be made."""
    quiet_lightning()
    make_trainer(trainer, label, logger=False, enable_checkpointing=False, enable_progress_bar=False)
