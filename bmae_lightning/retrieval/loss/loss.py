"""The base class of a retriever's losses, which see the vectors of one step and the labels of its batch.

A training stage lists losses by name (`losses: [contrastive, distillation]`) and minimises the sum of weight · loss.
Shapes: b queries of this process, B of all W processes (B = W·b), n passages of a query, N = B·n passages of all
processes (row i·n is the positive of query i of B), P labelled positives of a query, A and C any numbers of vectors.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor

from bmae_lightning.encoder.batch import RetrievalBatch
from bmae_lightning.retrieval.representation.gather import gather_with_grad
from bmae_lightning.retrieval.representation.vectors import Vectors, score
from bmae_lightning.runtime.errors import BadInput


class LossParts(NamedTuple):
    """What a loss returns.

    Attributes:
        loss: scalar, the mean over the b queries of this process; logged as `loss/NAME`.
        parts: further scalars to log, by the name they are logged under; detached.
    """

    loss: Tensor
    parts: dict[str, Tensor] = {}  # noqa: RUF012  never written to


@dataclass
class ScoredBatch:
    """The batch of one step as losses see it: scores, and which passages belong to which query.

    Attributes:
        queries: vectors of the b queries of this process.
        passages: vectors of the N passages of all processes, in the order of the queries.
        texts: the batch that was encoded; its labels and teacher scores are those of this process.
        group: n.
        temperature: scores are divided by it.
        offset: number of this process's first query among the B of all.

    Raises:
        ValueError: temperature not positive, or passages that do not belong to the queries.
    """

    queries: Vectors
    passages: Vectors
    texts: RetrievalBatch
    group: int
    temperature: float = 1.0
    offset: int = 0

    def __post_init__(self) -> None:
        check_temperature(self.temperature)
        b, N = len(self.queries), len(self.passages)
        if self.group < 1 or N % self.group or (self.offset + b) * self.group > N:
            raise ValueError(
                f"group {self.group}: {N} passages cannot serve {b} queries from {self.offset} on; every query needs "
                "`group` passages"
            )

    def score(self, left: Vectors, right: Vectors) -> Tensor:
        """Similarities / temperature [A, C] of any two sets of vectors."""
        return score(left, right) / self.temperature

    @cached_property
    def scores_bN(self) -> Tensor:
        """Similarities / temperature of the queries with all passages; computed once, for all losses."""
        return self.score(self.queries, self.passages)

    @cached_property
    def target_b(self) -> Tensor:
        """Column of each query's positive in `scores_bN`."""
        return targets(len(self.queries), self.group, self.offset, self.scores_bN.device)

    @cached_property
    def own_bn(self) -> Tensor:
        """Columns of each query's own passages in `scores_bN`, the positive first."""
        return self.target_b[:, None] + torch.arange(self.group, device=self.target_b.device)

    @cached_property
    def scores_bn(self) -> Tensor:
        """Similarities / temperature of each query with its own passages, the positive first."""
        return self.scores_bN.gather(1, self.own_bn)

    @cached_property
    def all_queries(self) -> Vectors:
        """Vectors of the B queries of all processes, with the gradient that one process would have."""
        return self.queries.gathered()

    @cached_property
    def known_bN(self) -> Tensor:
        """Which passages are labelled positives of the query, its own included; for losses with `needs_positives`."""
        return known_positives(gather_with_grad(self.texts.passage_N), self.texts.positives_BP)

    @property
    def teacher_bn(self) -> Tensor:
        """The teacher's raw scores of each query's own passages; for losses with `needs_teacher`.

        Raises:
            BadInput: the batch has none.
        """
        if self.texts.teacher_Bn is None:
            raise BadInput("distillation needs a teacher's scores of every training passage; run the score stage first")
        return self.texts.teacher_Bn


class RetrieverLoss(ABC):
    """Base class of the losses in `conf/losses/`.

    Args:
        weight: factor of this loss in the optimised sum.

    Attributes:
        needs_teacher: whether it reads `teacher_bn`; the stage then wants `inputs.scores`.
        needs_positives: whether it reads `known_bN`; batches then say which passages are labelled positives.

    Raises:
        ValueError: a negative weight.
    """

    needs_teacher = False
    needs_positives = False

    def __init__(self, weight: float = 1.0) -> None:
        if weight < 0:
            raise ValueError(f"weight is a factor of the loss, so it is at least 0, got {weight}")
        self.weight = weight

    @abstractmethod
    def __call__(self, queries: Vectors, passages: Vectors, batch: ScoredBatch) -> LossParts:
        """The loss of one step.

        Args:
            queries: vectors of the b queries of this process; `queries.dense_BD` is [b, D].
            passages: vectors of the N passages of all processes; the gradient reaches those of other processes too.
            batch: scores of these (`scores_bN`, `scores_bn`), `target_b`, and labels.
        """


def targets(queries: int, group: int, offset: int = 0, device: torch.device | None = None) -> Tensor:
    """Row of the positive of each query: (offset + i)·n."""
    return (offset + torch.arange(queries, device=device)) * group


def known_positives(passage_N: Tensor, positives_bP: Tensor) -> Tensor:
    """Which columns are labelled positives of the row's query [b, N]: in-batch passages that would be false negatives.

    passage_N: number of the passage in each column.  positives_bP: numbers of each query's positives, filled with -1.
    """
    return (positives_bP[:, :, None] == passage_N).any(1)


def temperature_at(temperature: float, step: int, warmup: int) -> float:
    """The temperature at an optimiser step: 1 / max(1, min(1, step / warmup) / temperature), without warm-up as given.

    Scores are thus multiplied by 1 at step 0 and by 1 / temperature from step `warmup` on (SimLM's NQ recipe).
    """
    return 1 / max(1.0, min(1.0, step / warmup) / temperature) if warmup > 0 else temperature


def check_temperature(temperature: float, warmup: float = 0) -> None:
    """Raise ValueError for a temperature, or a warm-up of it, that scores cannot be divided by."""
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    if warmup < 0 or (warmup > 0 and temperature > 1):
        raise ValueError(
            f"temperature_warmup={warmup} lowers the temperature from 1 to temperature={temperature}: "
            "give 0 for no warm-up, or a temperature of at most 1"
        )
