"""A projected state, a lexical part, or both: DupMAE's representation for fine-tuning (docs/finetuning.md §5.1).

The dense part is a linear map of the pooled state without bias, which queries and passages share.
The lexical part is the maximum over positions 1 .. L - 1 of vocabulary logits; a passage keeps its K largest entries,
a query all.
Shapes: B texts, L positions, D width, V vocabulary, K entries kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.encoder.borrowed import HEADS
from bmae_lightning.pretraining.loss.bag_of_words import max_pool
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.retrieval.representation.vectors import Sparse, Vectors
from bmae_lightning.runtime.checks import choice
from bmae_lightning.runtime.errors import BadInput

if TYPE_CHECKING:
    from bmae_lightning.encoder.model import Encoder

ACTIVATIONS = ("none", "relu", "log1p_relu")
SEPARATORS = ("include", "exclude")


class HybridRepresentation(PooledRepresentation):
    """A projected state and max-pooled vocabulary logits.

    Relations: `representation=projected` is this with `lexical=0`; with `dense=0` and `activation=log1p_relu` it is
    SPLADE-max without its regulariser.

    Args:
        pooling: `cls` or `mean`, the state whose linear map is the dense part.
        dense: dimensions of the dense part, 0 for none.
        lexical: vocabulary entries kept per passage, 0 for no lexical part.
        activation: of the pooled logits: `none`, `relu`, or `log1p_relu` (log(1 + max(0, x))).
        separator: `include` or `exclude` [SEP] among the pooled positions; [CLS] never takes part.
        lexical_head: `mlm` or `linear`, whose logits they are (`Encoder.head_of`), as the bag of words in pre-training.
    """

    def __init__(
        self, pooling: str = "cls", dense: int = 384, lexical: int = 384, activation: str = "none",
        separator: str = "include", lexical_head: str = "mlm",
    ) -> None:  # fmt: skip
        super().__init__(pooling)
        if dense < 0 or lexical < 0 or not dense + lexical:
            raise ValueError(f"dense={dense} and lexical={lexical}: neither is negative and one is above 0")
        choice(ACTIVATIONS, activation=activation)
        choice(SEPARATORS, separator=separator)
        choice(HEADS, lexical_head=lexical_head)
        self.dense, self.lexical, self.activation, self.separator = dense, lexical, activation, separator
        self.lexical_head = lexical_head

    def build(self, encoder: Encoder) -> None:
        if self.lexical > encoder.config.vocab_size:
            raise BadInput(
                f"representation.lexical={self.lexical}: the vocabulary has only {encoder.config.vocab_size} entries; "
                "keep fewer"
            )
        self.projection = encoder.new_linear(encoder.width, self.dense, bias=False) if self.dense else None

    def forward(self, encoder: Encoder, tokens: Tokens, hidden_BLD: Tensor, passages: bool) -> Vectors:
        if self.projection is None:
            dense_BD = hidden_BLD.new_zeros(len(hidden_BLD), 0)
        else:
            dense_BD = self.projection(self.pool(hidden_BLD, tokens.real_BL))
        if not self.lexical:
            return Vectors(dense_BD)
        mu_BV = self._pooled_logits(encoder, tokens, hidden_BLD)
        if not passages:
            return Vectors(dense_BD, self._activate(mu_BV))
        values_BK, indices_BK = mu_BV.topk(self.lexical, dim=1)
        return Vectors(dense_BD, Sparse(indices_BK.int(), self._activate(values_BK), mu_BV.shape[1]))

    def _pooled_logits(self, encoder: Encoder, tokens: Tokens, hidden_BLD: Tensor) -> Tensor:
        pooled_BL = tokens.real_BL[:, 1:]
        if self.separator == "exclude":
            pooled_BL = pooled_BL & (tokens.ids_BL[:, 1:] != encoder.vocabulary.sep_id)
        mu_BV = max_pool(hidden_BLD[:, 1:], pooled_BL, encoder.head_of(self.lexical_head))
        mu_BV = mu_BV.to(torch.promote_types(mu_BV.dtype, torch.float32))
        return mu_BV.masked_fill(~pooled_BL.any(1, keepdim=True), 0.0)  # an empty text has no entries

    def _activate(self, mu: Tensor) -> Tensor:
        if self.activation == "none":
            return mu
        return mu.relu() if self.activation == "relu" else mu.relu().log1p()
