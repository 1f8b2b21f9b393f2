"""Vectors of a store: independent of batching and padding (finetuning property 26), resumable by shard, in row order."""

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForMaskedLM

from bmae_lightning import encoding
from bmae_lightning.corpus.token_store import TokenStoreWriter
from bmae_lightning.dual_encoder import DualEncoder
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.representation.pooled import PooledRepresentation
from bmae_lightning.vocabulary import Vocabulary

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(60))]


@pytest.fixture
def model():
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(TOKENS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    encoder = Encoder(BertForMaskedLM(config), Vocabulary.from_tokens(TOKENS))
    return DualEncoder(encoder, PooledRepresentation("mean"), "cos").eval()


@pytest.fixture
def store(tmp_path):
    draw = np.random.default_rng(0)
    with TokenStoreWriter(tmp_path / "store", len(TOKENS), "digest") as writer:
        for row in range(25):
            writer.append(draw.integers(5, len(TOKENS), int(draw.integers(1, 40))), f"p{row}")
        return writer.commit()


def one_by_one(model, store, length):
    with torch.inference_mode():
        return np.concatenate([model(model.encoder.vocabulary.pad([store[row]], length)) for row in range(len(store))])


@pytest.mark.parametrize("batch_tokens", [1, 64, 4096])
def test_f26_batches_and_padding_change_nothing(model, store, batch_tokens):
    done = []
    vectors = encoding.encode(model, store, np.arange(len(store)), 20, batch_tokens, "cpu", done.append)
    assert np.allclose(vectors, one_by_one(model, store, 20), atol=1e-6)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert sum(done) == len(store)
    chosen = np.array([7, 3])
    assert np.allclose(encoding.encode(model, store, chosen, 20, 64, "cpu", done.append), vectors[chosen], atol=1e-6)


def test_an_interrupted_encoding_keeps_its_whole_shards(model, store, tmp_path, monkeypatch):
    monkeypatch.setattr(encoding, "SHARD", 10)
    path = tmp_path / "vectors.npy"
    whole = encoding.encode_to_file(model, store, 20, 256, "cpu", tmp_path / "whole.npy", lambda n: None)
    calls = []

    def stop_in_the_third(n):
        calls.append(n)
        if sum(calls) > 20:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        encoding.encode_to_file(model, store, 20, 256, "cpu", path, stop_in_the_third)
    assert not path.exists()
    done = []
    vectors = encoding.encode_to_file(model, store, 20, 256, "cpu", path, done.append)
    assert done[0] == 20
    assert sum(done) == 25
    assert np.array_equal(vectors, whole)


def test_the_head_is_neither_used_nor_trained(model):
    tokens = model.encoder.vocabulary.pad([np.array([6, 7, 8])], 20)
    model.train()
    model(tokens).sum().backward()
    unused = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert unused == []
    assert not model.encoder.masked_lm.cls.predictions.transform.dense.weight.requires_grad
