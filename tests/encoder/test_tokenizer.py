"""Tokenizers of checkpoints, and one trained on the corpus."""

import pytest

from bmae_lightning.encoder.tokenizer import PretrainedTokenizer, TrainedTokenizer, load_tokenizer
from bmae_lightning.runtime.errors import BadInput


def test_a_tokenizer_trained_on_the_corpus(tmp_path):
    TrainedTokenizer(120).make(lambda: iter(["the lazy dog and the quick fox"] * 20), tmp_path)
    tokenizer = load_tokenizer(tmp_path)
    assert len(tokenizer) <= 120
    assert tokenizer.decode(tokenizer.encode("the quick dog", add_special_tokens=False)) == "the quick dog"
    with pytest.raises(BadInput, match="no tokenizer"):
        load_tokenizer(tmp_path / "nothing")


def test_the_tokenizer_of_a_checkpoint_is_copied(tmp_path):
    TrainedTokenizer(120).make(lambda: iter(["the lazy dog and the quick fox"] * 20), tmp_path / "one")
    source = PretrainedTokenizer(str(tmp_path / "one"))
    source.preflight()
    source.make(lambda: iter(()), tmp_path / "two")
    assert load_tokenizer(tmp_path / "two").get_vocab() == load_tokenizer(tmp_path / "one").get_vocab()


def test_no_tokenizer_and_too_few_word_pieces(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(BadInput, match="no such local directory"):
        PretrainedTokenizer(str(tmp_path / "none")).preflight()
    with pytest.raises(ValueError, match="size must be at least 100 word pieces, got 99"):
        TrainedTokenizer(99)
