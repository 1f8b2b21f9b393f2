"""Re-ranker training: batches of (query, passage) pairs, and the LightningModule over a cross-encoder."""

from collections.abc import Sequence

import torch

from bmae_lightning.encoder.batch import Pairs
from bmae_lightning.lit.data import Item
from bmae_lightning.lit.module import TrainedModule
from bmae_lightning.lit.optimisation import Optimisation
from bmae_lightning.retrieval.negatives.source import Groups
from bmae_lightning.retrieval.reranking.cross_encoder import CrossEncoder, group_loss
from bmae_lightning.retrieval.reranking.pair_texts import PairTexts


class PairBatches:
    """Collates (query number, epoch) pairs into `Pairs`: for each query a positive passage, then its negatives.

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


class RerankerModule(TrainedModule):
    """Soft-max cross-entropy of the positive inside its group; negatives of other queries take no part.

    Args:
        model: the cross-encoder.
        optimisation: optimiser, schedule and their settings.
        group, temperature, forward_factor, r_drop: see `group_loss`.
    """

    def __init__(
        self, model: CrossEncoder, optimisation: Optimisation, group: int, temperature: float, forward_factor: int,
        r_drop: bool,
    ) -> None:  # fmt: skip
        super().__init__(model, optimisation)
        self.group, self.temperature = group, temperature
        self.forward_factor, self.r_drop = forward_factor, r_drop

    def training_step(self, batch: Pairs, index: int) -> torch.Tensor:
        found = group_loss(self.model, batch, self.group, self.temperature, self.forward_factor, self.r_drop)
        queries = self.count(len(batch) // self.group)
        self.parts = {"loss/listwise": (found.cross_entropy.detach(), queries), "group_RR@1": (found.first, queries)}
        if self.r_drop:
            self.parts["loss/r_drop"] = (found.divergence.detach(), queries)
        return found.loss
