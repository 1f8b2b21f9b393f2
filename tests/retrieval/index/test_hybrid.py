"""Exact search with a lexical part against brute force, ties, depth and parts that do not fit."""

import numpy as np
import pytest
import torch

from bmae_lightning.retrieval.index import hybrid
from bmae_lightning.retrieval.index.exact import ExactIndex
from bmae_lightning.retrieval.index.hybrid import HybridIndex
from bmae_lightning.retrieval.representation.vectors import Sparse, Vectors
from bmae_lightning.runtime.errors import BadInput

SIZE = 23


def made(passages, kept, queries, dense=3, seed=0, whole=True):
    """Passages as arrays and queries; small whole numbers, so that every sum is exact and ties abound."""
    draw = np.random.default_rng(seed)
    number = draw.integers if whole else lambda low, high, shape: draw.standard_normal(shape)
    indices = np.sort(np.argsort(draw.random((passages, SIZE)), axis=1)[:, :kept], axis=1).astype(np.uint16)
    parts = number(-2, 3, (passages, dense)), number(-2, 3, (passages, kept))
    stored = parts[0].astype(np.float32), indices, parts[1].astype(np.float32)
    full = Vectors(*(torch.from_numpy(number(-2, 3, (queries, n)).astype(np.float32)) for n in (dense, SIZE)))
    return stored, full


def expected_scores(stored, queries):
    """One passage and one query at a time, in float64: h_q · h_d + sum over I_d of mu_q[i] mu_d[i]."""
    dense, indices, values = stored
    lexical = queries.lexical.full() if isinstance(queries.lexical, Sparse) else queries.lexical
    return np.array(
        [
            [
                float(h_q @ h_d.astype(np.float64))
                + sum(float(mu_q[int(i)]) * float(v) for i, v in zip(entries, kept, strict=True))
                for h_d, entries, kept in zip(dense, indices, values, strict=True)
            ]
            for h_q, mu_q in zip(queries.dense_BD.double().numpy(), lexical.numpy(), strict=True)
        ]
    )


def best(scores, k):
    """score falling, then row rising"""
    rows = np.stack([np.lexsort((np.arange(scores.shape[1]), -line)) for line in scores])[:, :k]
    return np.take_along_axis(scores, rows, 1), rows


@pytest.mark.parametrize("block", [1, 7, 64, 1000])
@pytest.mark.parametrize("k", [1, 10, 200])
@pytest.mark.parametrize(("dense", "device"), [(3, "cpu"), (0, "cpu"), (3, "cpu:0")])  # cpu:0: as other devices do it
def test_equals_brute_force_for_any_block_size_with_ties(block, k, dense, device, monkeypatch):
    monkeypatch.setattr(hybrid, "QUERIES_AT_ONCE", 4)
    monkeypatch.setattr(hybrid, "QUERIES_PER_PRODUCT", 3)
    stored, queries = made(150, 5, 11, dense)
    whole = expected_scores(stored, queries)
    assert len(np.unique(whole)) < 60, "ties abound"
    seen = []
    scores, rows = HybridIndex().search(stored, queries, k, block, device, seen.append)
    assert (scores.dtype, rows.dtype) == (np.float32, np.int64)
    for found, right in zip((scores, rows), best(whole, k), strict=True):
        np.testing.assert_array_equal(found, right)
    assert sum(seen) == 150


def test_all_entries_are_the_full_product_and_entries_kept_nowhere_do_not_count():
    stored, queries = made(60, SIZE, 5, whole=False)
    scores, rows = HybridIndex().search(stored, queries, 60, block=9)
    full = queries.dense_BD.numpy() @ stored[0].T + queries.lexical.numpy() @ stored[2].T
    np.testing.assert_allclose(scores, np.take_along_axis(full, rows, 1), atol=1e-5)
    stored, queries = made(60, 4, 5, whole=False, seed=1)
    stored[1][stored[1] == 7] = 8
    scores, rows = HybridIndex().search(stored, queries, 60)
    np.testing.assert_allclose(scores, best(expected_scores(stored, queries), 60)[0], atol=1e-5)
    queries.lexical[:, 7] = 1e6
    for before, after in zip((scores, rows), HybridIndex().search(stored, queries, 60), strict=True):
        np.testing.assert_array_equal(before, after)


def test_queries_with_kept_entries_and_memory_maps(tmp_path):
    stored, queries = made(40, 5, 6)
    indices, values = (torch.from_numpy(part) for part in made(6, 9, 1, seed=2)[0][1:])
    sparse = Vectors(queries.dense_BD, Sparse(indices.int(), values, SIZE))
    right = best(expected_scores(stored, sparse), 8)
    mapped = []
    for number, part in enumerate(stored):
        np.save(tmp_path / f"{number}.npy", part)
        mapped.append(np.load(tmp_path / f"{number}.npy", mmap_mode="r"))
    for found in (HybridIndex().search(stored, sparse, 8), HybridIndex().search(tuple(mapped), sparse, 8, block=6)):
        for one, two in zip(found, right, strict=True):
            np.testing.assert_array_equal(one, two)


def test_equal_passages_stay_tied_wherever_they_stand():
    stored, queries = made(5, 6, 4, whole=False)
    indices, values = (np.concatenate([part[:1]] * 300 + [part]) for part in stored[1:])
    empty = np.empty((305, 0), dtype=np.float32)
    for block in (8192, 37):
        probes = Vectors(queries.dense_BD[:, :0], queries.lexical)
        _, rows = HybridIndex().search((empty, indices, values), probes, 305, block)
        for line in rows.tolist():
            same = [row for row in line if row <= 300]
            assert same == sorted(same)


def test_without_entries_it_is_the_dense_search():
    stored, queries = made(50, 0, 4, dense=6)
    for one, two in zip(
        HybridIndex().search(stored, queries, 9, block=8),
        ExactIndex().search(stored[0], queries.dense_BD.numpy(), 9),
        strict=True,
    ):
        np.testing.assert_array_equal(one, two)


def test_no_queries_depth_and_parts_that_do_not_fit():
    stored, queries = made(6, 3, 4)
    scores, rows = HybridIndex().search(stored, queries, 1000, block=4)
    assert scores.shape == rows.shape == (4, 6)
    assert HybridIndex().search(stored, queries[:0], 3)[0].shape[0] == 0
    for wrong, message in [
        (tuple(part[:0] for part in stored), "no passage"),
        ((stored[0][:, :2], *stored[1:]), "same width"),
        ((stored[0], stored[1][:, :2], stored[2]), "not of one encoding"),
        ((stored[0], stored[1] + np.uint16(SIZE), stored[2]), "vocabulary has 23"),
        ((stored[0] * np.nan, *stored[1:]), "not a finite number"),
    ]:
        with pytest.raises(BadInput, match=message):
            HybridIndex().search(wrong, queries, 3)
    with pytest.raises(BadInput, match="queries have none"):
        HybridIndex().search(stored, Vectors(queries.dense_BD), 3)
    with pytest.raises(ValueError, match="k must be at least 1, got 0"):
        HybridIndex().search(stored, queries, 0)
