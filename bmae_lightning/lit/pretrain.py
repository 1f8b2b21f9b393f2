"""The LightningModule of pre-training: one call of the model per step, named losses, their weighted sum."""

import pytorch_lightning as pl
import torch

from bmae_lightning.encoder.batch import TextBatch
from bmae_lightning.lit.optimisation import AdamW, LinearSchedule
from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.loss.normalise import mean_loss


class PretrainModule(pl.LightningModule):
    """Trains a `BottleneckMAE`.

    Args:
        model: the core model.
        optim, schedule: makers of the optimiser and its schedule.
        lr, weight_decay, warmup: their settings; warm-up below 1 is a share of the steps.
        steps: of the schedule, at least as many as are trained.
        loss_norm: see `mean_loss`.
    """

    def __init__(
        self, model: BottleneckMAE, optim: AdamW, schedule: LinearSchedule, lr: float, weight_decay: float,
        warmup: float, steps: int, loss_norm: str,
    ) -> None:  # fmt: skip
        super().__init__()
        self.model, self.optim, self.schedule = model, optim, schedule
        self.lr, self.weight_decay, self.warmup, self.steps, self.loss_norm = lr, weight_decay, warmup, steps, loss_norm
        self.parts: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self.weights: dict[str, float] = {}
        self.once: dict[str, float] = {}

    def training_step(self, batch: TextBatch, index: int) -> torch.Tensor:
        output = self.model(batch)
        self.weights = output.weights
        self.parts = {
            f"loss/{name}": (loss.total.detach() / loss.count.clamp(min=1), loss.count.detach())
            for name, loss in output.losses.items()
        }
        texts = torch.tensor(float(len(batch.passage_B)), device=self.device)
        self.parts |= {f"mask_rate/{name}": (rate.detach(), texts) for name, rate in output.rates.items()}
        return sum(output.weights[name] * mean_loss(loss, self.loss_norm) for name, loss in output.losses.items())

    def total(self, means: dict[str, float]) -> float:
        """The optimised loss from the means of its parts."""
        parts = {name.removeprefix("loss/"): value for name, value in means.items() if name.startswith("loss/")}
        return sum(self.weights[name] * value for name, value in parts.items())

    def configure_optimizers(self) -> dict:
        optimiser = self.optim.make(self, self.lr, self.weight_decay)
        schedule = self.schedule.make(optimiser, self.steps, self.warmup)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
