"""Measures what the core model does with the training batch: at the first step, every N steps and at the last."""

from typing import Any

import pytorch_lightning as pl

from bmae_lightning.pretraining.diagnostics import diagnose


class Diagnostics(pl.Callback):
    """Leaves `once` on the module (name -> number) for the metrics of the step that begins; training is not changed.

    What is measured is the first micro-batch of a step, with the parameters before the step, as for its losses.

    Args:
        every: steps between two diagnoses.
        steps: the last step.
    """

    def __init__(self, every: int, steps: int) -> None:
        self.every, self.steps = every, steps
        self.measured = -1

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        step = trainer.global_step + 1
        if step != self.measured and (step in (1, self.steps) or step % self.every == 0):
            self.measured = step
            with trainer.precision_plugin.forward_context():
                pl_module.once = diagnose(pl_module.model, batch, pl_module.loss_norm)
