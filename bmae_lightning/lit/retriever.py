"""Retriever training: batches of queries with their passages, and the LightningModule over a dual encoder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.encoder.batch import RetrievalBatch
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.lit.data import Item
from bmae_lightning.lit.module import LOSS, TrainedModule
from bmae_lightning.lit.optimisation import Optimisation
from bmae_lightning.retrieval.dual_encoder import DualEncoder
from bmae_lightning.retrieval.grad_cache import GradCache
from bmae_lightning.retrieval.loss.loss import RetrieverLoss, ScoredBatch, check_temperature, temperature_at
from bmae_lightning.retrieval.negatives.source import Groups
from bmae_lightning.retrieval.reranking.teacher_scores import TeacherScores
from bmae_lightning.runtime.shares import exact

KNOWN = "known_positives"
"""Metric: how many passages of a step, beside its own, are labelled positives of a query."""


@dataclass
class RetrieverBatches:
    """Collates (query number, epoch) pairs into a `RetrievalBatch`.

    Attributes:
        groups: draws the passages of a query in an epoch.
        queries, passages: token stores.
        vocabulary: for the special ids.
        query_length, passage_length: word pieces with [CLS] and [SEP].
        teacher: whose scores of each query's own passages go with the batch.
    """

    groups: Groups
    queries: TokenStore
    passages: TokenStore
    vocabulary: Vocabulary
    query_length: int
    passage_length: int
    teacher: TeacherScores | None = None

    def __call__(self, items: Sequence[Item]) -> RetrievalBatch:
        query_rows = [self.groups.query_rows[number] for number, _ in items]
        passage_rows = [row for number, epoch in items for row in self.groups.draw(number, epoch)]
        queries = self.vocabulary.pad([self.queries[row] for row in query_rows], self.query_length)
        passages = self.vocabulary.pad([self.passages[row] for row in passage_rows], self.passage_length)
        teacher_Bn = None
        if self.teacher is not None:
            teacher_Bn = self.teacher.of(query_rows, np.array(passage_rows).reshape(len(items), -1))
        judged = [self.groups.known[self.groups.ids[number]] for number, _ in items]
        positives_BP = np.full((len(items), max(map(len, judged))), -1, dtype=np.int64)
        for row, ids in enumerate(judged):
            positives_BP[row, : len(ids)] = [self.passages.row_of(passage) for passage in ids]
        return RetrievalBatch(queries, passages, torch.tensor(passage_rows), torch.from_numpy(positives_BP), teacher_Bn)


class RetrieverModule(TrainedModule):
    """Training of a dual encoder: negatives shared across devices, the weighted sum of its losses.

    Args:
        model: the dual encoder.
        losses: by name.
        train_group_size: passages per query.
        temperature: similarities are divided by it.
        optimisation: optimiser, schedule and their settings.
        temperature_warmup: steps (below 1: share of all) in which the temperature falls from 1 to its value.
        grad_cache: encodes in chunks.
    """

    def __init__(
        self, model: DualEncoder, losses: Mapping[str, RetrieverLoss], train_group_size: int, temperature: float,
        optimisation: Optimisation, temperature_warmup: float = 0.0, grad_cache: GradCache | None = None,
    ) -> None:  # fmt: skip
        super().__init__(model, optimisation)
        check_temperature(temperature, temperature_warmup)
        self.losses, self.train_group_size, self.temperature = losses, train_group_size, temperature
        share = temperature_warmup < 1
        self.temperature_warmup = int(exact(temperature_warmup) * optimisation.steps if share else temperature_warmup)
        self.grad_cache = grad_cache or GradCache()
        self.weights = {name: loss.weight for name, loss in losses.items()}

    def training_step(self, batch: RetrievalBatch, index: int) -> torch.Tensor:
        queries, passages = self.grad_cache.both(self.model, batch.queries, batch.passages)
        passages = passages.gathered()
        temperature = temperature_at(self.temperature, self.global_step, self.temperature_warmup)
        offset = self.global_rank * len(queries)
        scored = ScoredBatch(queries, passages, batch, self.train_group_size, temperature, offset)
        found = {name: loss(queries, passages, scored) for name, loss in self.losses.items()}
        count = self.count(len(queries))
        self.parts = {}
        if batch.passage_N is not None:
            known_b = scored.known_bN.sum(1) - scored.known_bN.gather(1, scored.target_b[:, None])[:, 0].long()
            self.parts[KNOWN] = (known_b.float().mean(), count)
        for name, value in found.items():
            self.parts[LOSS + name] = (value.loss.detach(), count)
            self.parts |= {part: (number, count) for part, number in value.parts.items()}
        return sum(self.weights[name] * value.loss for name, value in found.items())
