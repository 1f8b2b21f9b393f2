"""The LightningModule of pre-training: one call of the model per step, named losses, their weighted sum."""

import torch

from bmae_lightning.encoder.batch import TextBatch
from bmae_lightning.lit.module import LOSS, TrainedModule
from bmae_lightning.lit.optimisation import Optimisation
from bmae_lightning.pretraining.bmae import BottleneckMAE
from bmae_lightning.pretraining.loss.normalise import mean_loss


class PretrainModule(TrainedModule):
    """Trains a `BottleneckMAE`; `loss_norm` says over what losses are averaged, see `mean_loss`."""

    def __init__(self, model: BottleneckMAE, optimisation: Optimisation, loss_norm: str) -> None:
        super().__init__(model, optimisation)
        self.loss_norm = loss_norm

    def training_step(self, batch: TextBatch, index: int) -> torch.Tensor:
        output = self.model(batch)
        self.weights = output.weights
        self.parts = {
            LOSS + name: (loss.total.detach() / loss.count.clamp(min=1), loss.count.detach())
            for name, loss in output.losses.items()
        }
        texts = self.count(len(batch.passage_B))
        self.parts |= {f"mask_rate/{name}": (rate.detach(), texts) for name, rate in output.rates.items()}
        return sum(output.weights[name] * mean_loss(loss, self.loss_norm) for name, loss in output.losses.items())
