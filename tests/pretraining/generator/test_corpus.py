"""A generator that a stage of this program has trained."""

import pytest
import torch
from support.generators import tokenizer
from transformers import BertConfig, BertForMaskedLM

from bmae_lightning.pretraining.generator.corpus import CorpusGenerator
from bmae_lightning.runtime.errors import BadInput


def test_a_generator_of_the_corpus(tmp_path):
    words = tokenizer(tmp_path)
    original = BertForMaskedLM(BertConfig(vocab_size=200, num_hidden_layers=1, hidden_size=16, num_attention_heads=2))
    original.save_pretrained(tmp_path / "stage" / "encoder")
    words.save_pretrained(tmp_path / "stage" / "encoder")
    generator = CorpusGenerator().build(words, tmp_path / "stage")
    for one, two in zip(generator.masked_lm.parameters(), original.parameters(), strict=True):
        assert torch.equal(one, two)
    with pytest.raises(BadInput, match=r"generator.stage=masked_lm: pretrain.inputs.generator is empty"):
        CorpusGenerator().build(words)
