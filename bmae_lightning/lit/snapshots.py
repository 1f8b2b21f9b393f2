"""Keeps the encoder every so many steps of pre-training, so that fine-tuning can start along the way."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from bmae_lightning.runtime.files import replacing
from bmae_lightning.runtime.snapshots import snapshot


class Snapshots(pl.Callback):
    """Has the encoder saved after every `every` steps, whole or not at all; training does not notice.

    It stands before the callback that writes checkpoints, so that a continued run misses none.

    Args:
        directory: of the stage.
        every: steps between two snapshots.
        save: writes the encoder into a directory.
    """

    def __init__(self, directory: Path, every: int, save: Callable[[Path], None]) -> None:
        self.directory, self.every, self.save = directory, every, save

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if trainer.is_global_zero and not trainer.fit_loop._should_accumulate():
            self.keep(trainer.global_step)

    def keep(self, step: int) -> None:
        """Save the encoder as that of `step`, if this one is to be kept and is not there."""
        target = snapshot(self.directory, step).parent
        if step % self.every or target.is_dir():
            return
        with replacing(target) as partial:
            self.save(snapshot(partial, None))
