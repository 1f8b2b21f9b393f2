"""Vectors of a store: independent of batching and padding, in row order."""

import numpy as np
import pytest
import torch
from support.retrievers import dual_encoder, one_by_one
from support.vectors import encode

from bmae_lightning.retrieval import encode as encoding
from bmae_lightning.retrieval.representation.hybrid import HybridRepresentation
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation


@pytest.mark.parametrize("batch_tokens", [1, 64, 4096])
def test_batches_and_padding_change_nothing(model, store, batch_tokens):
    done = []
    vectors = encode(model, store, np.arange(len(store)), 20, batch_tokens, "cpu", done.append)
    assert np.allclose(vectors, one_by_one(model, store, 20).dense_BD, atol=1e-6)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert sum(done) == len(store)
    chosen = np.array([7, 3])
    assert np.allclose(encode(model, store, chosen, 20, 64, "cpu", done.append), vectors[chosen], atol=1e-6)


def test_the_head_is_neither_used_nor_trained(model):
    tokens = model.encoder.vocabulary.pad([np.array([6, 7, 8])], 20)
    model.train()
    model(tokens, passages=True).dense_BD.sum().backward()
    unused = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert unused == []
    assert not model.encoder.masked_lm.cls.predictions.transform.dense.weight.requires_grad


def test_hybrid_queries_keep_all_entries(store):
    model = dual_encoder(HybridRepresentation("cls", 6, 9))
    rows = np.array([4, 2, 9])
    found = encoding.encode_vectors(model, store, rows, 20, 64, "cpu", lambda n: None, passages=False)
    expected = one_by_one(model, store, 20, passages=False)
    for one, two in zip(found.tensors(), expected.tensors(), strict=True):
        torch.testing.assert_close(one, two[rows], rtol=0, atol=1e-5)


def test_separate_encoders_encode_their_own_side(store):
    model = dual_encoder(PooledRepresentation("cls"), shared=False)
    with torch.no_grad():
        for parameter in model.passage_encoder.parameters():
            parameter.add_(0.1)
    for passages in (False, True):
        vectors = encode(model, store, np.arange(25), 20, 64, "cpu", lambda n: None, passages)
        assert np.allclose(vectors, one_by_one(model, store, 20, passages).dense_BD, atol=1e-5)
