"""Retriever training: batches of queries with their passages, and the LightningModule over a dual encoder."""

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytorch_lightning as pl
import torch

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.encoder.batch import RetrievalBatch, Tokens
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.lit.data import Item
from bmae_lightning.lit.optimisation import AdamW, LinearSchedule
from bmae_lightning.retrieval.dual_encoder import DualEncoder
from bmae_lightning.retrieval.grad_cache import GradCache
from bmae_lightning.retrieval.loss.contrastive import (
    check_contrastive,
    contrastive_loss,
    known_positives,
    scale_gradient,
    temperature_at,
)
from bmae_lightning.retrieval.loss.distillation import Distillation
from bmae_lightning.retrieval.negatives.source import Groups
from bmae_lightning.retrieval.representation.gather import gather_with_grad
from bmae_lightning.retrieval.representation.vectors import score
from bmae_lightning.retrieval.reranking.teacher_scores import TeacherScores
from bmae_lightning.runtime.errors import BadInput


class RetrieverBatches:
    """Collates (query number, epoch) pairs into a `RetrievalBatch`.

    Args:
        groups: draws the passages of a query in an epoch.
        queries, passages: token stores.
        vocabulary: for the special ids.
        query_length, passage_length: word pieces with [CLS] and [SEP].
        positives: also say which passages they are and which ones are positives of each query.
        teacher: whose scores of each query's own passages go with the batch.
    """

    def __init__(
        self, groups: Groups, queries: TokenStore, passages: TokenStore, vocabulary: Vocabulary,
        query_length: int, passage_length: int, positives: bool = False, teacher: TeacherScores | None = None,
    ) -> None:  # fmt: skip
        self.groups, self.queries, self.passages, self.vocabulary = groups, queries, passages, vocabulary
        self.query_length, self.passage_length, self.positives = query_length, passage_length, positives
        self.teacher = teacher

    def __call__(self, items: Sequence[Item]) -> RetrievalBatch:
        query_rows = [self.groups.query_rows[number] for number, _ in items]
        passage_rows = [row for number, epoch in items for row in self.groups.draw(number, epoch)]
        queries = self._pad([self.queries[row] for row in query_rows], self.query_length)
        passages = self._pad([self.passages[row] for row in passage_rows], self.passage_length)
        teacher_Bn = None
        if self.teacher is not None:
            teacher_Bn = self.teacher.of(query_rows, np.array(passage_rows).reshape(len(items), -1))
        if not self.positives:
            return RetrievalBatch(queries, passages, teacher_Bn=teacher_Bn)
        judged = [self.groups.known[self.groups.ids[number]] for number, _ in items]
        positives_BP = np.full((len(items), max(map(len, judged))), -1, dtype=np.int64)
        for row, ids in enumerate(judged):
            positives_BP[row, : len(ids)] = [self.passages.row_of(passage) for passage in ids]
        return RetrievalBatch(queries, passages, torch.tensor(passage_rows), torch.from_numpy(positives_BP), teacher_Bn)

    def _pad(self, rows: list[np.ndarray], length: int) -> Tokens:
        return self.vocabulary.pad(rows, length)


class RetrieverModule(pl.LightningModule):
    """In-batch contrastive training with hard negatives, negatives shared across devices, and distillation
    (finetuning §1.3 - §1.7).

    Args:
        model: the dual encoder.
        group: passages per query.
        temperature: scores are divided by it.
        optim, schedule, lr, weight_decay, warmup, steps: as in pre-training.
        form: of the contrastive loss: `plain`, `simlm_code` or `eq3_literal`.
        temperature_warmup: steps (below 1: share of all) in which the temperature falls from 1 to its value.
        contrastive_grad_scale: factor on the gradient of the contrastive loss, 1 for the exact one; 1 / devices imitates
            codes that leave it divided by their number.
        mask_known_positives: no labelled positive of a query counts as its negative.
        grad_cache: encodes in chunks.
        distillation: adds a teacher's scores, which the batches must have.
    """

    def __init__(
        self, model: DualEncoder, group: int, temperature: float, optim: AdamW, schedule: LinearSchedule, lr: float,
        weight_decay: float, warmup: float, steps: int, form: str = "plain", temperature_warmup: float = 0.0,
        contrastive_grad_scale: float = 1.0, mask_known_positives: bool = False, grad_cache: GradCache | None = None,
        distillation: Distillation | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        check_contrastive(form, temperature, temperature_warmup)
        self.model, self.group, self.temperature = model, group, temperature
        self.optim, self.schedule, self.lr, self.weight_decay = optim, schedule, lr, weight_decay
        self.warmup, self.steps = warmup, steps
        self.form, self.contrastive_grad_scale = form, contrastive_grad_scale
        self.temperature_warmup = int(temperature_warmup if temperature_warmup >= 1 else temperature_warmup * steps)
        self.mask_known_positives, self.distillation = mask_known_positives, distillation
        self.grad_cache = grad_cache or GradCache()
        self.parts: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self.once: dict[str, float] = {}

    def training_step(self, batch: RetrievalBatch, index: int) -> torch.Tensor:
        queries = self.grad_cache(partial(self.model, passages=False), batch.queries)
        passages = self.grad_cache(partial(self.model, passages=True), batch.passages).gathered()
        known_bN = None
        if self.mask_known_positives:
            known_bN = known_positives(gather_with_grad(batch.passage_N), batch.positives_BP)
        contrast = contrastive_loss(
            queries,
            passages,
            self.group,
            temperature_at(self.temperature, self.global_step, self.temperature_warmup),
            self.global_rank * len(queries),
            self.form,
            queries.gathered() if self.form == "simlm_code" else None,
            known_bN,
            self.distillation is not None and self.distillation.mask_hard_negatives,
            score,
        )
        weight = torch.tensor(float(len(queries)), device=self.device)
        self.parts = {"loss/contrastive": (contrast.loss.detach(), weight), "in_batch_RR@1": (contrast.first, weight)}
        loss = scale_gradient(contrast.loss, self.contrastive_grad_scale)
        if self.distillation is None:
            return loss
        if batch.teacher_Bn is None:
            raise BadInput("distillation needs a teacher's scores of every training passage; run the score stage first")
        distilled = self.distillation(contrast.group_bn, batch.teacher_Bn)
        self.parts["loss/distillation"] = (distilled.detach(), weight)
        return distilled + self.distillation.alpha * loss

    def total(self, means: dict[str, float]) -> float:
        """The optimised loss from the means of its parts."""
        if self.distillation is None:
            return means["loss/contrastive"]
        return means["loss/distillation"] + self.distillation.alpha * means["loss/contrastive"]

    def configure_optimizers(self) -> dict:
        optimiser = self.optim.make(self, self.lr, self.weight_decay)
        schedule = self.schedule.make(optimiser, self.steps, self.warmup)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}
