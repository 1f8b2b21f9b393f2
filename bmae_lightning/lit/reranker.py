"""Re-ranker training: batches of (query, passage) pairs, and the LightningModule over a cross-encoder (finetuning §3.4)."""

from collections.abc import Sequence

import pytorch_lightning as pl
import torch

from bmae_lightning.encoder.batch import Pairs
from bmae_lightning.lit.data import Item
from bmae_lightning.lit.optimisation import AdamW, LinearSchedule
from bmae_lightning.retrieval.negatives.source import Groups
from bmae_lightning.retrieval.reranking.cross_encoder import CrossEncoder, group_loss
from bmae_lightning.retrieval.reranking.pair_texts import PairTexts


class PairBatches:
    """Collates (query number, epoch) pairs into `Pairs`, the passages of a query after one another, a positive first.

    Args:
        groups: draws the passages of a query in an epoch.
        texts: their word pieces.
        length: tokens of a pair with [CLS] and every [SEP].
    """

    def __init__(self, groups: Groups, texts: PairTexts, length: int) -> None:
        self.groups, self.texts, self.length = groups, texts, length

    def __call__(self, items: Sequence[Item]) -> Pairs:
        rows = [
            (self.groups.query_rows[number], row) for number, epoch in items for row in self.groups.draw(number, epoch)
        ]
        return self.texts.pairs(rows, self.length)


class RerankerModule(pl.LightningModule):
    """Soft-max cross-entropy of the positive inside its group, negatives of other queries take no part.

    Args:
        model: the cross-encoder.
        group, temperature, forward_factor, r_drop: see `group_loss`.
        optim, schedule, lr, weight_decay, warmup, steps: as in pre-training.
    """

    def __init__(
        self, model: CrossEncoder, group: int, temperature: float, forward_factor: int, r_drop: bool, optim: AdamW,
        schedule: LinearSchedule, lr: float, weight_decay: float, warmup: float, steps: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.model, self.group, self.temperature = model, group, temperature
        self.forward_factor, self.r_drop = forward_factor, r_drop
        self.optim, self.schedule, self.lr, self.weight_decay = optim, schedule, lr, weight_decay
        self.warmup, self.steps = warmup, steps
        self.parts: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def training_step(self, batch: Pairs, index: int) -> torch.Tensor:
        found = group_loss(self.model, batch, self.group, self.temperature, self.forward_factor, self.r_drop)
        weight = torch.tensor(float(len(batch) // self.group), device=self.device)
        self.parts = {"loss/listwise": (found.cross_entropy.detach(), weight), "group_RR@1": (found.first, weight)}
        if self.r_drop:
            self.parts["loss/r_drop"] = (found.divergence.detach(), weight)
        return found.loss

    def total(self, means: dict[str, float]) -> float:
        """The optimised loss from the means of its parts."""
        return means["loss/listwise"] + means.get("loss/r_drop", 0.0)

    def configure_optimizers(self) -> dict:
        optimiser = self.optim.make(self, self.lr, self.weight_decay)
        schedule = self.schedule.make(optimiser, self.steps, self.warmup)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
