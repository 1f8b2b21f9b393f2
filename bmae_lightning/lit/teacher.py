"""Training of the small teachers of the generate stage: their own cross-entropy, on one device whatever the trainer has."""

from functools import partial
from typing import Any

import torch

from bmae_lightning.lit.module import LOSS, TrainedModule
from bmae_lightning.lit.optimisation import Optimisation
from bmae_lightning.pretraining.generate.trained import IGNORED, Examples


class TeacherModule(TrainedModule):
    """Trains a sequence-to-sequence or causal model of transformers.

    Args:
        model: takes input_ids, attention_mask and labels, returns a loss.
        optimisation: optimiser, schedule and their settings.
        role: what it writes, the name of its loss.
    """

    def __init__(self, model: torch.nn.Module, optimisation: Optimisation, role: str) -> None:
        super().__init__(model, optimisation)
        self.role = role

    def training_step(self, batch: Examples, index: int) -> torch.Tensor:
        loss = self.model(input_ids=batch.input_BL, attention_mask=batch.real_BL, labels=batch.label_BT).loss
        self.parts = {LOSS + self.role: (loss.detach(), (batch.label_BT != IGNORED).sum().float())}
        return loss


def on_one_device(trainer: partial) -> partial:
    """The trainer of the configuration for one device, whatever launched this process."""
    from pytorch_lightning.plugins.environments import LightningEnvironment

    alone: dict[str, Any] = {"devices": 1, "num_nodes": 1, "strategy": "auto", "accumulate_grad_batches": 1}
    return partial(trainer.func, **(trainer.keywords | alone | {"plugins": [LightningEnvironment()]}))
