"""Keeps the encoder every so many steps of pre-training, so that fine-tuning can start along the way."""

from collections.abc import Callable
from pathlib import Path

import pytorch_lightning as pl

from bmae_lightning.lit.step_callback import StepCallback
from bmae_lightning.runtime.files import replacing
from bmae_lightning.runtime.snapshots import snapshot


class Snapshots(StepCallback):
    """Saves the encoder after every `every` steps, whole or not at all; training is not changed by it.

    It must stand before the callback that writes checkpoints, so that a continued run misses none.

    Args:
        directory: of the stage.
        every: steps between two snapshots.
        save: writes the encoder into a directory.
    """

    def __init__(self, directory: Path, every: int, save: Callable[[Path], None]) -> None:
        self.directory, self.every, self.save = directory, every, save

    def after_step(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            self.keep(self.step)

    def keep(self, step: int) -> None:
        """Save the encoder as that of `step`, if this one is to be kept and is not there."""
        target = snapshot(self.directory, step).parent
        if step % self.every == 0 and not target.is_dir():
            with replacing(target) as temporary:
                self.save(snapshot(temporary, None))
