"""Exact search against brute force, and its rules for ties, depth and wrong input."""

import numpy as np
import pytest
import torch

from bmae_lightning.retrieval.index import exact
from bmae_lightning.retrieval.index.exact import ExactIndex
from bmae_lightning.runtime.errors import BadInput


def integers(rows, width, seed, spread=3):
    """Small whole numbers: every inner product is exact, and ties abound."""
    return np.random.default_rng(seed).integers(-spread, spread + 1, (rows, width)).astype(np.float32)


def brute_force(passages, queries, k):
    """score falling, then row rising"""
    scores = queries.astype(np.float64) @ passages.astype(np.float64).T
    rows = np.stack([np.lexsort((np.arange(len(passages)), -line)) for line in scores])[:, :k]
    return np.take_along_axis(scores, rows, 1), rows


@pytest.mark.parametrize("backend", ["torch", "faiss"])
@pytest.mark.parametrize("block", [1, 7, 64, 1000])
@pytest.mark.parametrize("k", [1, 10, 200])
def test_equals_brute_force_for_any_block_size_with_ties(block, k, backend, monkeypatch):
    monkeypatch.setattr(exact, "QUERIES_AT_ONCE", 4)
    passages, queries = integers(150, 6, 0), integers(11, 6, 1)
    seen = []
    scores, rows = ExactIndex(backend).search(passages, queries, k, block=block, progress=seen.append)
    expected_scores, expected_rows = brute_force(passages, queries, k)
    assert (scores.dtype, rows.dtype) == (np.float32, np.int64)
    np.testing.assert_array_equal(rows, expected_rows)
    np.testing.assert_array_equal(scores, expected_scores)
    assert sum(seen) == 150


def test_real_vectors_of_either_sign():
    generator = np.random.default_rng(2)
    passages, queries = generator.standard_normal((300, 16)), generator.standard_normal((5, 16)) * 1e3
    for shift in (0.0, -50.0):  # all scores negative with the second
        shifted = np.concatenate([passages, np.full((300, 1), shift)], axis=1).astype(np.float32)
        probes = np.concatenate([queries, np.full((5, 1), 1e3)], axis=1).astype(np.float32)
        scores, rows = ExactIndex().search(shifted, probes, 20, block=37)
        expected_scores, expected_rows = brute_force(shifted, probes, 20)
        np.testing.assert_array_equal(rows, expected_rows)
        np.testing.assert_allclose(scores, expected_scores, rtol=1e-5, atol=1e-3)


def test_all_equal_and_signed_zeros():
    passages = np.zeros((50, 3), dtype=np.float32)
    passages[1::2] = -0.0
    scores, rows = ExactIndex().search(passages, -np.ones((2, 3), dtype=np.float32), 5, block=8)
    np.testing.assert_array_equal(rows, [[0, 1, 2, 3, 4]] * 2)
    assert not scores.any()


def test_stream_in_any_order_memory_map_and_half_precision(tmp_path):
    passages, queries = integers(90, 5, 3), integers(4, 5, 4)
    expected = ExactIndex().search(passages, queries, 15)
    pieces = [(60, passages[60:]), (0, passages[:25]), (25, passages[25:60])]
    np.save(tmp_path / "p.npy", passages.astype(np.float16))
    for source in (iter(pieces), np.load(tmp_path / "p.npy", mmap_mode="r")):
        scores, rows = ExactIndex().search(source, queries, 15, block=10)
        np.testing.assert_array_equal(rows, expected[1])
        np.testing.assert_array_equal(scores, expected[0])


def test_no_queries_and_depth_is_clipped():
    passages = integers(6, 4, 5)
    scores, rows = ExactIndex().search(passages, integers(3, 4, 6), 1000, block=4)
    assert scores.shape == rows.shape == (3, 6)
    assert all(sorted(row) == list(range(6)) for row in rows.tolist())
    assert ExactIndex().search(passages, np.empty((0, 4), dtype=np.float32), 3)[0].shape[0] == 0


def test_settings_of_training_are_put_back():
    torch.set_float32_matmul_precision("medium")
    try:
        with torch.autocast("cpu", dtype=torch.bfloat16):
            scores, _ = ExactIndex().search(np.array([[1.0, 1e-3]]), np.array([[1.0, 1.0]]), 1)
        assert scores[0, 0] == pytest.approx(1.001, abs=1e-6)
        assert torch.get_float32_matmul_precision() == "medium"
    finally:
        torch.set_float32_matmul_precision("highest")


@pytest.mark.parametrize("backend", ["torch", "faiss"])
def test_mistakes(backend):
    queries = integers(2, 4, 0)
    with pytest.raises(BadInput, match="same width"):
        ExactIndex(backend).search(integers(3, 5, 0), queries, 2)
    with pytest.raises(BadInput, match="no passage"):
        ExactIndex(backend).search(iter([]), queries, 2)
    with pytest.raises(BadInput, match="NaN"):
        ExactIndex(backend).search(np.full((3, 4), np.nan, dtype=np.float32), queries, 2)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        ExactIndex(backend).search(integers(3, 4, 0), queries, 0)


def test_unknown_backend():
    with pytest.raises(ValueError, match="backend must be one of auto, faiss, torch, got 'numpy'"):
        ExactIndex("numpy")
