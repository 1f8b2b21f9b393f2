"""Searching for queries of a store: any number of them at a time gives one result, that of every pair scored alone."""

import numpy as np
import pytest
from support.retrievers import TOKENS, dual_encoder, scored_alone
from support.stores import write_store
from support.vectors import encode_to_files

from bmae_lightning.retrieval.index import hybrid
from bmae_lightning.retrieval.index.exact import ExactIndex
from bmae_lightning.retrieval.representation.hybrid import HybridRepresentation
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.retrieval.search import search


def store(directory, count, seed):
    draw = np.random.default_rng(seed)
    rows = [draw.integers(5, len(TOKENS), int(draw.integers(1, 20))) for _ in range(count)]
    return write_store(directory, rows, "t", len(TOKENS))


@pytest.mark.parametrize("at_once", [1, 4, 512])
@pytest.mark.parametrize("make", [lambda: HybridRepresentation("cls", 6, 9), lambda: PooledRepresentation("mean")])
def test_every_pair_scored_alone(make, at_once, tmp_path, monkeypatch):
    monkeypatch.setattr(hybrid, "QUERIES_AT_ONCE", at_once)
    model = dual_encoder(make())
    passages, queries = store(tmp_path / "passages", 25, 1), store(tmp_path / "queries", 9, 2)
    encoded = encode_to_files(model, passages, 12, 256, "cpu", tmp_path / "passages.npy", lambda n: None)
    rows, done = np.array([5, 0, 8, 3, 2, 7, 1]), []
    found = search(ExactIndex(), model, encoded, queries, rows, 8, 64, "cpu", 10, done.append)
    assert sum(done) == len(rows)
    assert found.seconds > 0
    scores = np.array(scored_alone(model, queries, passages, (8, 12)))[rows]
    order = np.argsort(-scores, axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(found.rows, order)
    np.testing.assert_allclose(found.scores, np.take_along_axis(scores, order, 1), rtol=1e-4, atol=1e-4)


def test_no_query_at_all(tmp_path):
    model = dual_encoder(HybridRepresentation("cls", 6, 9))
    texts = store(tmp_path / "texts", 5, 1)
    encoded = encode_to_files(model, texts, 12, 256, "cpu", tmp_path / "texts.npy", lambda n: None)
    none = np.empty(0, dtype=np.int64)
    assert len(search(ExactIndex(), model, encoded, texts, none, 8, 64, "cpu", 3, lambda n: None).rows) == 0
