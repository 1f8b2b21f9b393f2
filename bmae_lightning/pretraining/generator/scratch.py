"""A generator of ELECTRA architecture from random weights, trained along (SimLM, Table 12, "joint, random init")."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from bmae_lightning.encoder.scratch import check_heads, random_model
from bmae_lightning.pretraining.generator.generator import Generator

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase


class ScratchGenerator(Generator):
    """layers, width, heads, embedding, positions: its size; the feed-forward size is 4 x width.  seed: of the weights.

    hidden_dropout: rate of hidden and attention dropout.  The other options are those of `Generator`.
    """

    def __init__(
        self,
        layers: int,
        width: int,
        heads: int,
        embedding: int,
        positions: int = 512,
        hidden_dropout: float = 0.1,
        seed: int = 0,
        train: bool = True,
        dropout: bool = False,
        temperature: float = 1.0,
        weight: float = 0.2,
    ):
        super().__init__(train, dropout, temperature, weight)
        check_heads(width, heads)
        self.layers, self.width, self.heads, self.embedding = layers, width, heads, embedding
        self.positions, self.hidden_dropout, self.seed = positions, hidden_dropout, seed

    def network(self, tokenizer: PreTrainedTokenizerBase, directory: Path | None) -> PreTrainedModel:
        from transformers import ElectraForMaskedLM

        return random_model(
            ElectraForMaskedLM, self, len(tokenizer), self.hidden_dropout, embedding_size=self.embedding,
            pad_token_id=getattr(tokenizer, "pad_token_id", 0),
        )  # fmt: skip
