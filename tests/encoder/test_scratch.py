"""Encoders of random weights."""

import pytest
import torch
from transformers import BertForMaskedLM

from bmae_lightning.encoder.scratch import ScratchEncoder, check_heads, random_model
from bmae_lightning.encoder.tokenizer import TrainedTokenizer


def test_scratch_weights_depend_on_the_seed_only(scratch):
    torch.manual_seed(1)
    first, _ = scratch.masked_lm(200)
    torch.manual_seed(2)
    state = torch.get_rng_state()
    second, _ = scratch.masked_lm(200)
    assert torch.equal(torch.get_rng_state(), state)
    for one, two in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(one, two)


def test_sizes_are_those_of_the_options(scratch):
    model, new = scratch.masked_lm(200)
    config = model.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (2, 16, 2)
    assert (config.intermediate_size, config.max_position_embeddings, config.vocab_size) == (64, 32, 200)
    assert config.hidden_dropout_prob == config.attention_probs_dropout_prob == 0.1
    assert scratch.dimensions() == (2, 32, True)
    assert new == []
    other = random_model(BertForMaskedLM, scratch, 200, 0.3, initializer_range=0.5)
    assert other.config.hidden_dropout_prob == 0.3
    assert other.bert.encoder.layer[0].output.dense.weight.std() > 0.4


def test_the_padding_is_the_tokenizers(scratch):
    """RoBERTa's `<s>` is id 0, where BERT has its padding: it must learn."""
    model, _ = scratch.masked_lm(200, 1)
    assert model.config.pad_token_id == 1
    words = model.get_input_embeddings()
    assert words.weight[0].abs().sum() > 0
    model(torch.tensor([[0, 5, 2, 1]])).logits.sum().backward()
    assert words.padding_idx == 1
    assert words.weight[1].abs().sum() == 0


def test_heads_that_do_not_divide_the_width():
    with pytest.raises(ValueError, match="width=16 must be a multiple of heads=3"):
        ScratchEncoder(TrainedTokenizer(200), layers=2, width=16, heads=3)
    with pytest.raises(ValueError, match="width=16 must be a multiple of heads=0"):
        check_heads(16, 0)
