"""A linear map of the pooled state to fewer dimensions, DupMAE's dense part: h_0 W, no bias, learned in fine-tuning.

Queries and passages share the map, also where they have encoders of their own.
"""

from typing import Any

from torch import Tensor

from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.retrieval.representation.vectors import Vectors


class ProjectedRepresentation(PooledRepresentation):
    """A linear map of the pooled state.

    Args:
        pooling: `cls` or `mean`, the state that is mapped.
        dense: dimensions of the vector.
    """

    def __init__(self, pooling: str = "cls", dense: int = 384) -> None:
        super().__init__(pooling)
        if dense < 1:
            raise ValueError(f"dense must be at least 1 dimension, got {dense}")
        self.dense = dense

    def build(self, encoder: Encoder) -> None:
        self.projection = encoder.new_linear(encoder.width, self.dense, bias=False)

    def options(self) -> dict[str, Any]:
        return {"pooling": self.pooling, "dense": self.dense}

    def forward(self, encoder: Encoder, tokens: Tokens, hidden_BLD: Tensor, passages: bool) -> Vectors:
        return Vectors(self.projection(self.pool(hidden_BLD, tokens.real_BL)))
