"""The bases of LightningModules that train a model, and of callbacks that act after optimiser steps."""

from abc import ABC, abstractmethod
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from bmae_lightning.lit.optimisation import Optimisation

LOSS = "loss/"
"""What the names of those parts begin with that the optimised loss is the sum of."""


class TrainedModule(pl.LightningModule):
    """Trains `model`; subclasses define `training_step`, which leaves `parts`.

    Args:
        model: whose parameters are trained.
        optimisation: optimiser, schedule and their settings.

    Attributes:
        parts: name -> (mean over the micro-batch, weight), for `StepMetrics`, which averages them over all devices.
        weights: factors of losses in the optimised sum by name without `loss/`; 1 where a name is absent.
        once: name -> number, written with the metrics of the current step.
    """

    def __init__(self, model: nn.Module, optimisation: Optimisation) -> None:
        super().__init__()
        self.model, self.optimisation = model, optimisation
        self.parts: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self.weights: dict[str, float] = {}
        self.once: dict[str, float] = {}

    def total(self, means: dict[str, float]) -> float:
        """The optimised loss from the means of its parts."""
        losses = {name.removeprefix(LOSS): mean for name, mean in means.items() if name.startswith(LOSS)}
        return sum(self.weights.get(name, 1.0) * mean for name, mean in losses.items())

    def count(self, items: int) -> torch.Tensor:
        """A number of items as the weight of a part, on the module's device."""
        return torch.tensor(float(items), device=self.device)

    def configure_optimizers(self) -> dict:
        return self.optimisation.make(self)


class StepCallback(pl.Callback, ABC):
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

    @abstractmethod
    def after_step(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Act; `self.step` counts the optimiser steps made so far."""
