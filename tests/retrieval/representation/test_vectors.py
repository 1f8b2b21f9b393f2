"""Scores of dense, full and kept lexical parts against one loop, and their gradients."""

import pytest
import torch

from bmae_lightning.retrieval.representation import vectors as module
from bmae_lightning.retrieval.representation.vectors import Sparse, Vectors, score

V, K, D = 23, 4, 3


def drawn(count, kind, seed, width=D):
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator, "dtype": torch.float64}
    dense_BD = torch.randn(count, width, **draw)
    if kind == "none":
        return Vectors(dense_BD)
    full_BV = torch.randn(count, V, **draw)
    if kind == "full":
        return Vectors(dense_BD, full_BV)
    values_BK, indices_BK = full_BV.topk(K, dim=1)
    return Vectors(dense_BD, Sparse(indices_BK.int(), values_BK, V))


def weights(lexical, row):
    """Entry -> weight of one text."""
    if isinstance(lexical, Sparse):
        pairs = zip(lexical.indices_BK[row].tolist(), lexical.values_BK[row].tolist(), strict=True)
        return dict(pairs)
    return dict(enumerate(lexical[row].tolist()))


def score_by_loop(left, right):
    rows = []
    for q in range(len(left)):
        rows.append([])
        for p in range(len(right)):
            total = sum(a * b for a, b in zip(left.dense_BD[q].tolist(), right.dense_BD[p].tolist(), strict=True))
            if left.lexical is not None:
                one, two = weights(left.lexical, q), weights(right.lexical, p)
                total += sum(one[entry] * two[entry] for entry in one.keys() & two.keys())
            rows[-1].append(total)
    return torch.tensor(rows, dtype=torch.float64)


@pytest.mark.parametrize("left", ["full", "sparse"])
@pytest.mark.parametrize("right", ["full", "sparse"])
@pytest.mark.parametrize(("width", "at_once"), [(D, 2**24), (0, 2 * V), (D, 1)])
def test_scores_equal_a_loop(left, right, width, at_once, monkeypatch):
    monkeypatch.setattr(module, "ENTRIES_AT_ONCE", at_once)
    queries, passages = drawn(3, left, 0, width), drawn(5, right, 1, width)
    torch.testing.assert_close(score(queries, passages), score_by_loop(queries, passages))


def test_dense_only():
    queries, passages = drawn(3, "none", 0), drawn(5, "none", 1)
    torch.testing.assert_close(score(queries, passages), score_by_loop(queries, passages))
    with pytest.raises(ValueError, match="lexical part"):
        score(queries, drawn(5, "sparse", 1))


@pytest.mark.parametrize("at_once", [2**24, 2 * V])
def test_gradients_of_full_against_kept(at_once, monkeypatch):
    monkeypatch.setattr(module, "ENTRIES_AT_ONCE", at_once)
    queries, passages = drawn(3, "full", 0), drawn(5, "sparse", 1)
    given = [*queries.tensors(), passages.dense_BD, passages.lexical.values_BK]
    for tensor in given:
        tensor.requires_grad_()

    def scored(q_dense, q_full, p_dense, p_values):
        kept = Sparse(passages.lexical.indices_BK, p_values, V)
        return score(Vectors(q_dense, q_full), Vectors(p_dense, kept))

    assert torch.autograd.gradcheck(scored, given)
    (to_full_QV,) = torch.autograd.grad(scored(*given).sum(), given[1])
    chosen = set(passages.lexical.indices_BK.flatten().tolist())  # only what some passage keeps reaches a query
    assert {entry for entry in range(V) if to_full_QV[:, entry].any()} == chosen


def test_rows_and_joining():
    whole = drawn(5, "sparse", 0)
    halves = Vectors.cat([whole[:2], whole[2:]])
    assert all(torch.equal(a, b) for a, b in zip(whole.tensors(), halves.tensors(), strict=True))
    assert isinstance(halves.lexical, Sparse)
    assert halves.lexical.size == V
    assert len(whole[::2]) == 3
    assert torch.equal(whole[::2].lexical.values_BK, whole.lexical.values_BK[::2])
    assert len(Vectors.cat([drawn(2, "none", 0), drawn(3, "none", 1)])) == 5
    assert whole.gathered().dense_BD is whole.dense_BD  # one process


def test_half_precision_is_scored_in_float32():
    queries, passages = (
        drawn(4, kind, 0).map(lambda t: t.float() if t.is_floating_point() else t) for kind in ("full", "sparse")
    )
    expected = score(queries, passages)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(score(queries, passages), expected)
    rounded = score(*(side.map(lambda t: t.bfloat16() if t.is_floating_point() else t) for side in (queries, passages)))
    assert rounded.dtype == torch.float32
