"""Validation during training: a measure every so many steps, early stopping on it, the best weights kept.

The stage says what is measured (stage.validation). Measuring changes neither losses nor random numbers.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from safetensors.torch import load_model, save_model

from bmae_lightning.lit.metrics_file import VALIDATION
from bmae_lightning.lit.module import StepCallback, TrainedModule
from bmae_lightning.lit.resume import step_of
from bmae_lightning.pretraining.diagnostics import undisturbed
from bmae_lightning.runtime.files import replacing
from bmae_lightning.runtime.process import print_once, process_rank


@dataclass(eq=False)
class Looks(StepCallback):
    """Measures the model, writes `validation/<name>` to the metrics of that step, and stops the training.

    Its state is part of every checkpoint, and the best weights lie beside the checkpoints. It must come before the
    callbacks that write metrics and checkpoints. All processes measure; what the first one finds counts.

    Args:
        look: measures a model on a device; higher is better.
        name: of the measure.
        every: steps between two looks; there is one after the last step too.
        steps: the last step.
        patience: looks without a better value before training stops, None not to stop.
        keep_best: whether the weights of the best look are kept, for `finish`.
        directory: of the checkpoints.
    """

    look: Callable[[torch.nn.Module, torch.device], float]
    name: str
    every: int
    steps: int
    patience: int | None
    keep_best: bool
    directory: Path

    def __post_init__(self) -> None:
        self.best, self.best_step, self.waited = float("-inf"), 0, 0

    @property
    def stopped(self) -> bool:
        """Whether patience has run out."""
        return self.patience is not None and self.waited >= self.patience

    def state_dict(self) -> dict[str, Any]:
        return {"best": self.best, "best_step": self.best_step, "waited": self.waited}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.best, self.best_step, self.waited = (state_dict[name] for name in ("best", "best_step", "waited"))

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        trainer.should_stop = self.stopped  # continued from a checkpoint of the step that was the last

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        if trainer.is_global_zero:
            for step, path in self._kept().items():
                if step > trainer.global_step:  # of a run that got further than the checkpoint continued from
                    path.unlink()

    def after_step(self, trainer: pl.Trainer, module: TrainedModule) -> None:
        step = self.step
        if step % self.every and step != self.steps:
            return
        with undisturbed(module.model, trainer.strategy.root_device):
            value = trainer.strategy.broadcast(self.look(module.model, trainer.strategy.root_device))
        module.once |= {VALIDATION + self.name: value}
        if value > self.best:
            self.best, self.best_step, self.waited = value, step, 0
            if self.keep_best and trainer.is_global_zero:
                self._keep(module.model)
        else:
            self.waited += 1
        trainer.should_stop = self.stopped

    def finish(self, model: torch.nn.Module, label: str) -> None:
        """Print the best value, and give `model` the weights of the best look if they are kept."""
        kept = ", whose weights are kept" if self.keep_best else ""
        stopped = f", stopped after {self.waited} looks without a better one" if self.stopped else ""
        print_once(f"{label}: validation {self.name} {self.best:.3f} at best, at step {self.best_step}{kept}{stopped}")
        if self.keep_best and process_rank() == 0:
            load_model(model, self._path(self.best_step))

    def _keep(self, model: torch.nn.Module) -> None:
        """Write the weights (atomic) and remove those that no checkpoint can lead back to."""
        path = self._path(self.best_step)
        with replacing(path) as temporary:
            save_model(model, str(temporary))
        checkpoints = [step_of(found) for found in self.directory.glob("step-*.ckpt")]
        kept = self._kept()
        needed = max((step for step in kept if step <= min(checkpoints, default=0)), default=0)
        for step, old in kept.items():
            if step < needed:
                old.unlink()

    def _kept(self) -> dict[int, Path]:
        return {step_of(path): path for path in self.directory.glob("best-*.safetensors")}

    def _path(self, step: int) -> Path:
        return self.directory / f"best-{step:08d}.safetensors"
