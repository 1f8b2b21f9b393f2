"""What a stage will take, told before it runs: what is known of the size of a collection, and a stage's cost."""

import dataclasses
import math
from collections.abc import Iterable, Mapping


@dataclasses.dataclass(frozen=True)
class Sizes:
    """Of a collection; nan where something is not known before the collection is prepared.

    Attributes:
        passages: how many there are.
        pieces: mean number of word pieces of a passage, with [CLS] and [SEP].
        queries: judged queries by split.
        source: where the numbers are from.
    """

    passages: float = math.nan
    pieces: float = math.nan
    queries: Mapping[str, float] = dataclasses.field(default_factory=dict)
    source: str = "unknown until prepared"

    def tokens(self, length: int) -> float:
        """Mean word pieces of a passage that is cut to `length`; `length` itself where the mean is not known."""
        return length if math.isnan(self.pieces) else min(length, self.pieces)

    def judged(self, splits: Iterable[str]) -> float:
        return sum(self.queries.get(split, math.nan) for split in splits)


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of a stage, or of several together.

    Attributes:
        pretrain_steps, pretrain_passages: optimiser steps of pre-training and passages read in them.
        tune_steps, tune_passages: the same of retrievers, re-rankers and classifiers (a passage of every group counts).
        encoded: passages encoded, scored or written about by a model that does not learn.
        flops: floating-point operations on GPUs.
        disk: bytes that stay.
    """

    pretrain_steps: float = 0
    pretrain_passages: float = 0
    tune_steps: float = 0
    tune_passages: float = 0
    encoded: float = 0
    flops: float = 0
    disk: float = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(*(a + b for a, b in zip(dataclasses.astuple(self), dataclasses.astuple(other), strict=True)))

    def known(self) -> tuple["Cost", bool]:
        """Without what is not known, and whether that is all."""
        values = [0 if math.isnan(value) else value for value in dataclasses.astuple(self)]
        return Cost(*values), Cost(*values) == self


@dataclasses.dataclass(frozen=True)
class Shape:
    """Of a transformer, for estimates: weights that each token passes.

    Attributes:
        layers, width: of the network; a layer has 12 x width² weights.
        vocabulary: word pieces that its head tells apart.
    """

    layers: int
    width: int
    vocabulary: int

    @property
    def layer(self) -> int:
        return 12 * self.width**2

    @property
    def body(self) -> int:
        return self.layers * self.layer

    @property
    def head(self) -> int:
        return self.width * self.vocabulary

    @property
    def bytes(self) -> int:
        """On disk, in 32 bits, with embeddings."""
        return 4 * (self.body + self.head)


READ, TRAINED = 2, 6
"""Floating-point operations per weight and token: forward; forward and backward."""
