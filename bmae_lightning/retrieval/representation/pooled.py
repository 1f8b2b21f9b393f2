"""A text's vector is the [CLS] state of the last layer or the mean of all its states, without a projection."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.pretraining.bottleneck import ClsBottleneck, MeanBottleneck
from bmae_lightning.retrieval.representation.vectors import Vectors
from bmae_lightning.retrieval.retriever_config import POOLINGS
from bmae_lightning.runtime.checks import choice

if TYPE_CHECKING:
    from bmae_lightning.encoder.model import Encoder


class PooledRepresentation(nn.Module):
    """The [CLS] state or the mean; base class of all representations.

    Args:
        pooling: `cls` or `mean` (over all real positions, [CLS] and [SEP] included).

    Attributes:
        dense: width of the dense part, None for the encoder's own.
        lexical: vocabulary entries kept per passage, 0 for no lexical part.
        lexical_head: of the lexical part, `mlm` for the masked language model's.
    """

    dense: int | None = None
    lexical: int = 0
    lexical_head: str = "mlm"

    def __init__(self, pooling: str = "cls") -> None:
        super().__init__()
        choice(POOLINGS, pooling=pooling)
        self.pooling = pooling
        self.pool = ClsBottleneck() if pooling == "cls" else MeanBottleneck()

    def build(self, encoder: Encoder) -> None:
        """Make the parameters, new ones at every call; there are none here."""

    def width(self, encoder: Encoder) -> int:
        """Dimensions of the dense part."""
        return encoder.width if self.dense is None else self.dense

    def options(self) -> dict[str, Any]:
        """The arguments of the constructor that make it again: attributes of the same names; JSON can hold them."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def record(self) -> dict[str, Any]:
        """What must be known to read the vectors, and to make it again: fields of `RetrieverConfig`."""
        node = {"_target_": f"{type(self).__module__}.{type(self).__qualname__}", **self.options()}
        names = ("pooling", "dense", "lexical", "activation", "separator", "lexical_head")
        return {name: getattr(self, name) for name in names if hasattr(self, name)} | {"representation": node}

    def forward(self, encoder: Encoder, tokens: Tokens, hidden_BLD: Tensor, passages: bool) -> Vectors:
        """Represent B texts by their last-layer states.

        encoder: that made the states.  passages: whether the texts are passages, which some represent otherwise.
        """
        return Vectors(self.pool(hidden_BLD, tokens.real_BL))
