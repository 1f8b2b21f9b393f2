"""A tiny encoder and texts of several lengths, one of them empty."""

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.vocabulary import Vocabulary

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(40))]


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(TOKENS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    return Encoder(BertForMaskedLM(config), Vocabulary.from_tokens(TOKENS)).double().eval()


@pytest.fixture
def tokens(encoder):
    rows = [np.array(row, dtype=np.int64) for row in ([6, 7, 8, 9, 10], [11], [], [12, 13, 14])]
    return encoder.vocabulary.pad(rows, 20)
