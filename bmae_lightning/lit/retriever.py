"""Retriever training: batches of queries with their passages, and the LightningModule over a dual encoder."""

from collections.abc import Sequence

import numpy as np
import pytorch_lightning as pl
import torch

from bmae_lightning.batch import Tokens
from bmae_lightning.corpus.token_store import TokenStore
from bmae_lightning.dual_encoder import DualEncoder
from bmae_lightning.gather import gather_with_grad
from bmae_lightning.lit.data import Item
from bmae_lightning.lit.optimisation import AdamW, LinearSchedule
from bmae_lightning.loss.contrastive import contrastive_loss
from bmae_lightning.negatives.source import Groups
from bmae_lightning.vocabulary import Vocabulary


class RetrieverBatches:
    """Collates (query number, epoch) pairs into (query tokens [B, Lq], passage tokens [B·n, Lp]).

    Passages stand in the order i·n + j, the positive of query i at i·n.

    Args:
        groups: draws the passages of a query in an epoch.
        queries, passages: token stores.
        vocabulary: for the special ids.
        query_length, passage_length: word pieces with [CLS] and [SEP].
    """

    def __init__(
        self, groups: Groups, queries: TokenStore, passages: TokenStore, vocabulary: Vocabulary,
        query_length: int, passage_length: int,
    ) -> None:  # fmt: skip
        self.groups, self.queries, self.passages, self.vocabulary = groups, queries, passages, vocabulary
        self.query_length, self.passage_length = query_length, passage_length

    def __call__(self, items: Sequence[Item]) -> tuple[Tokens, Tokens]:
        query_rows = [self.groups.query_rows[number] for number, _ in items]
        passage_rows = [row for number, epoch in items for row in self.groups.draw(number, epoch)]
        return (
            self._pad([self.queries[row] for row in query_rows], self.query_length),
            self._pad([self.passages[row] for row in passage_rows], self.passage_length),
        )

    def _pad(self, rows: list[np.ndarray], length: int) -> Tokens:
        return self.vocabulary.pad(rows, length)


class RetrieverModule(pl.LightningModule):
    """In-batch contrastive training with hard negatives, negatives shared across devices (finetuning §1.3, §1.5).

    Args:
        model: the dual encoder.
        group: passages per query.
        temperature: scores are divided by it.
        optim, schedule, lr, weight_decay, warmup, steps: as in pre-training.
    """

    def __init__(
        self, model: DualEncoder, group: int, temperature: float, optim: AdamW, schedule: LinearSchedule, lr: float,
        weight_decay: float, warmup: float, steps: int,
    ) -> None:  # fmt: skip
        super().__init__()
        self.model, self.group, self.temperature = model, group, temperature
        self.optim, self.schedule, self.lr, self.weight_decay = optim, schedule, lr, weight_decay
        self.warmup, self.steps = warmup, steps
        self.parts: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}

    def training_step(self, batch: tuple[Tokens, Tokens], index: int) -> torch.Tensor:
        queries_BD, passages_ND = self.model(batch[0]), gather_with_grad(self.model(batch[1]))
        offset = self.global_rank * len(queries_BD)
        loss, first = contrastive_loss(queries_BD, passages_ND, self.group, self.temperature, offset)
        weight = torch.tensor(float(len(queries_BD)), device=self.device)
        self.parts = {"loss/contrastive": (loss.detach(), weight), "in_batch_RR@1": (first, weight)}
        return loss

    def total(self, means: dict[str, float]) -> float:
        """The optimised loss from the means of its parts."""
        return means["loss/contrastive"]

    def configure_optimizers(self) -> dict:
        optimiser = self.optim.make(self, self.lr, self.weight_decay)
        schedule = self.schedule.make(optimiser, self.steps, self.warmup)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
