"""Encoders of a few thousand parameters over made-up words."""

import torch
from transformers import BertConfig, BertForMaskedLM

from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.vocabulary import Vocabulary

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
TOKENS = [*SPECIAL, *(f"w{i}" for i in range(40))]
"""Word pieces of `small_encoder`; ids from 5 on are words."""


def small_encoder(layers: int = 1, dropout: float = 0.1, seed: int = 0, **options) -> Encoder:
    """An encoder of width 16 with random weights; options: of its `BertConfig`."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(TOKENS), hidden_size=16, num_hidden_layers=layers, num_attention_heads=2, intermediate_size=32,
        hidden_dropout_prob=dropout, attention_probs_dropout_prob=dropout, **options,
    )  # fmt: skip
    return Encoder(BertForMaskedLM(config), Vocabulary.from_tokens(TOKENS))
