"""Pre-training in Lightning: the module with its named losses, diagnoses, and encoders kept along the way."""

from collections.abc import Callable, Container
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from bmae_lightning.encoder.batch import TextBatch
from bmae_lightning.lit.module import LOSS, StepCallback, TrainedModule
from bmae_lightning.lit.optimisation import Optimisation
from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.diagnostics import diagnose
from bmae_lightning.pretraining.loss.normalise import quotient, terms
from bmae_lightning.runtime.files import replacing
from bmae_lightning.runtime.snapshots import snapshot


class PretrainModule(TrainedModule):
    """Trains a `BottleneckMAE`; `loss_norm` says over what losses are averaged, see `quotient`."""

    def __init__(self, model: BottleneckMAE, optimisation: Optimisation, loss_norm: str) -> None:
        super().__init__(model, optimisation)
        self.loss_norm = loss_norm
        model.encoder.by_passage = loss_norm == "seq_mean"

    def training_step(self, batch: TextBatch, index: int) -> torch.Tensor:
        output = self.model(batch)
        self.weights = output.weights
        of = {name: terms(loss, self.loss_norm) for name, loss in output.losses.items()}
        self.parts = {LOSS + name: (total.detach() / n.clamp(min=1), n.detach()) for name, (total, n) in of.items()}
        texts = self.count(len(batch.passage_B))
        self.parts |= {f"mask_rate/{name}": (rate.detach(), texts) for name, rate in output.rates.items()}
        return sum(output.weights[name] * quotient(*parts, self.loss_norm) for name, parts in of.items())


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


class Snapshots(StepCallback):
    """Saves the encoder after some steps, whole or not at all; training is not changed by it.

    It must stand before the callback that writes checkpoints, so that a continued run misses none.

    Args:
        directory: of the stage.
        steps: after which an encoder is kept.
        save: writes the encoder into a directory.
    """

    def __init__(self, directory: Path, steps: Container[int], save: Callable[[Path], None]) -> None:
        self.directory, self.steps, self.save = directory, steps, save

    def after_step(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        if trainer.is_global_zero:
            self.keep(self.step)

    def keep(self, step: int) -> None:
        """Save the encoder as that of `step`, if this one is to be kept and is not there."""
        target = snapshot(self.directory, step).parent
        if step in self.steps and not target.is_dir():
            with replacing(target) as temporary:
                self.save(snapshot(temporary, None))
