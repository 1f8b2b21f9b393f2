"""Train a small teacher of the generate stage: its own cross-entropy, on one device, so that devices change nothing."""

from functools import partial
from typing import Any

import pytorch_lightning as pl
import torch

from bmae_lightning.lit.optimisation import AdamW, LinearSchedule
from bmae_lightning.pretraining.generate.trained import IGNORED, Examples


class TeacherModule(pl.LightningModule):
    """Trains a sequence-to-sequence or causal model of transformers.

    Args:
        model: takes input_ids, attention_mask and labels, returns a loss.
        role: what it writes, the name of its loss.
        optim, schedule, lr, weight_decay, warmup, steps: as in pre-training.
    """

    def __init__(
        self, model: torch.nn.Module, role: str, optim: AdamW, schedule: LinearSchedule, lr: float,
        weight_decay: float, warmup: float, steps: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.model, self.role, self.optim, self.schedule = model, role, optim, schedule
        self.lr, self.weight_decay, self.warmup, self.steps = lr, weight_decay, warmup, steps
        self.parts: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def training_step(self, batch: Examples, index: int) -> torch.Tensor:
        loss = self.model(input_ids=batch.input_BL, attention_mask=batch.real_BL, labels=batch.label_BT).loss
        self.parts = {f"loss/{self.role}": (loss.detach(), (batch.label_BT != IGNORED).sum().float())}
        return loss

    def total(self, means: dict[str, float]) -> float:
        """The optimised loss from the means of its parts."""
        return means[f"loss/{self.role}"]

    def configure_optimizers(self) -> dict:
        optimiser = self.optim.make(self, self.lr, self.weight_decay)
        schedule = self.schedule.make(optimiser, self.steps, self.warmup)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def on_one_device(trainer: partial) -> partial:
    """The trainer of the configuration for one device, whatever launched this process."""
    from pytorch_lightning.plugins.environments import LightningEnvironment

    alone: dict[str, Any] = {"devices": 1, "num_nodes": 1, "strategy": "auto", "accumulate_grad_batches": 1}
    return partial(trainer.func, **(trainer.keywords | alone | {"plugins": [LightningEnvironment()]}))
