"""What all LightningModules that train a model share: their optimiser, and the parts of the loss for the metrics."""

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
