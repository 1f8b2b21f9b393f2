"""The base of callbacks that act after optimiser steps rather than after micro-batches."""

from typing import Any

import pytorch_lightning as pl


class StepCallback(pl.Callback):
    """Calls `after_step` once after every optimiser step, on all devices.

    Lightning calls its callbacks in their order: one that measures or saves a model stands before those that write
    metrics and checkpoints.
    """

    step = -1

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.step = trainer.global_step

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if not trainer.fit_loop._should_accumulate() and trainer.global_step != self.step:
            self.step = trainer.global_step
            self.after_step(trainer, pl_module)

    def after_step(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Act; `self.step` counts the optimiser steps made so far."""
        raise NotImplementedError
