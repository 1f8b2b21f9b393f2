"""The faiss index against exact search, and what faiss itself gets wrong: -1 rows, deep k, few vectors."""

import sys

import numpy as np
import pytest

from bmae_lightning.retrieval.index.exact import ExactIndex
from bmae_lightning.retrieval.index.faiss import FaissIndex
from bmae_lightning.runtime.errors import BadInput


def vectors(rows, seed, width=8):
    return np.random.default_rng(seed).standard_normal((rows, width)).astype(np.float32)


@pytest.fixture
def faiss():
    return pytest.importorskip("faiss")


@pytest.mark.parametrize("k", [1, 12, 500])
def test_flat_equals_exact_search(faiss, k):
    passages, queries = vectors(120, 0), vectors(9, 1)
    scores, rows = FaissIndex().search(passages, queries, k, block=50)
    expected_scores, expected_rows = ExactIndex().search(passages, queries, k, block=33)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_allclose(scores, expected_scores, rtol=1e-5, atol=1e-6)
    assert (scores.dtype, rows.dtype) == (np.float32, np.int64)


def test_ties_lower_row_first_and_streams_keep_their_rows(faiss):
    passages = np.repeat(np.eye(4, dtype=np.float32), 2, axis=0)
    pieces = [(4, passages[4:]), (0, passages[:4])]
    scores, rows = FaissIndex().search(iter(pieces), np.array([[4.0, 3.0, 2.0, 1.0]]), 8)
    np.testing.assert_array_equal(rows, [np.arange(8)])
    np.testing.assert_array_equal(scores, [[4, 4, 3, 3, 2, 2, 1, 1]])


def test_inverted_lists_are_trained_and_missing_hits_are_marked(faiss):
    passages, queries = vectors(400, 2), vectors(6, 3)
    scores, rows = FaissIndex("IVF8,Flat").search(passages, queries, 300)
    assert ((rows == -1) == np.isneginf(scores)).all()
    assert (rows == -1).any()
    for line in rows:
        kept = line[line >= 0]
        assert len(set(kept)) == len(kept) > 0
        assert (line[len(kept) :] == -1).all()
    everywhere = FaissIndex("IVF8,Flat", nprobe=8).search(((0, passages[:200]), (200, passages[200:])), queries, 5)
    np.testing.assert_array_equal(everywhere[1], ExactIndex().search(passages, queries, 5)[1])


def test_mistakes(faiss):
    with pytest.raises(BadInput, match="cannot be trained on 5 vectors"):
        FaissIndex("IVF64,Flat").search(vectors(5, 0), vectors(2, 1), 3)
    with pytest.raises(BadInput, match="Nonsense9"):
        FaissIndex("Nonsense9").search(vectors(5, 0), vectors(2, 1), 3)
    with pytest.raises(BadInput, match="same width"):
        FaissIndex().search(vectors(5, 0, 4), vectors(2, 1), 3)
    with pytest.raises(BadInput, match="no passage"):
        FaissIndex().search(iter([]), vectors(2, 1), 3)
    with pytest.raises(ValueError, match="nprobe"):
        FaissIndex(nprobe=0)


def test_without_faiss_the_command_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(BadInput, match="pip install faiss-cpu"):
        FaissIndex().search(vectors(5, 0), vectors(2, 1), 3)
