"""The loops for words against a slow fill, and the sorting that they do themselves."""

import math

import numpy as np
import pytest

pytest.importorskip("numba")

import numba

from bmae_lightning.pretraining.kernels import words

DRAW = np.random.default_rng(0)


@numba.njit
def sort(near_W, rank_N, count):
    words.sort_near(near_W, rank_N, count)


@numba.njit
def falling(bits):
    return words.falling(bits)


@pytest.mark.parametrize("count", [0, 1, 2, 7, 40, 300])
def test_words_are_sorted_by_rank_and_then_by_number(count):
    near, rank = DRAW.permutation(count).astype(np.uint32), DRAW.integers(0, 9, count).astype(np.uint64)
    expected = sorted(zip(rank.tolist(), near.tolist(), strict=True))
    sort(near, rank, count)
    assert list(zip(rank.tolist(), near.tolist(), strict=True)) == expected


def test_integers_rise_as_floats_fall():
    values = [math.nan, math.inf, 1e300, 2.0, 1.0, 5e-324, 0.0, -5e-324, -1.0, -1e300, -math.inf]
    ranks = [int(falling(np.array([value]).view(np.uint64)[0])) for value in values]
    assert ranks == sorted(ranks)
    assert len(set(ranks)) == len(ranks)
    assert int(falling(np.array([-0.0]).view(np.uint64)[0])) == ranks[6]


def slow_fill(sizes, order, room, fill):
    """The words taken in this order, one by one."""
    taken = set()
    for word in order:
        if room <= 0:
            break
        if sizes[word] > room and fill != "overshoot":
            if fill == "prefix":
                break
            continue
        taken.add(word)
        room -= sizes[word]
    return taken


@pytest.mark.parametrize("fill", words.FILLS)
@pytest.mark.parametrize("spread", [1.0, 1e-3, 1e6])
def test_words_by_priority(fill, spread):
    for _ in range(60):
        sizes = DRAW.choice([1, 1, 1, 2, 3, 9], DRAW.integers(1, 30))
        word_L = np.concatenate([[-1], np.repeat(np.arange(len(sizes)), sizes), [-1]])
        size_W = np.zeros(len(word_L), np.int64)
        size_W[: len(sizes)] = sizes
        priority_BRW = (DRAW.standard_normal((1, 3, len(word_L))) ** 3) * spread
        room_B, mask_BRL = np.array([DRAW.integers(0, sizes.sum() + 3)]), np.empty((1, 3, len(word_L)), bool)
        words.take_by_priority(0, 1, priority_BRW, word_L[None], size_W[None], room_B, words.FILLS[fill], mask_BRL)
        for row in range(3):
            order = np.argsort(-priority_BRW[0, row, : len(sizes)], kind="stable")
            taken = slow_fill(sizes, order, room_B[0], fill)
            assert mask_BRL[0, row].tolist() == [word in taken for word in word_L]


def test_words_are_found_from_left_to_right():
    skip_V, joint_V = np.array([1, 1, 0, 0, 0], bool), np.array([0, 0, 0, 0, 1], np.uint8)
    ids_BL = np.array([[0, 4, 2, 4, 1, 4, 3, 0], [0, 0, 0, 0, 0, 0, 0, 0]])
    real_BL = np.array([[1, 1, 1, 1, 1, 1, 1, 0], [1, 1, 0, 0, 0, 0, 0, 0]], bool)
    word_BL, size_BW = np.empty_like(ids_BL), np.empty_like(ids_BL)
    words.find_words(0, 2, ids_BL, real_BL, skip_V, joint_V, word_BL, size_BW)
    assert word_BL.tolist() == [[-1, 0, 1, 1, -1, 1, 2, -1], [-1] * 8]
    assert size_BW.tolist() == [[1, 3, 1, 0, 0, 0, 0, 0], [0] * 8]
    start_BW = np.zeros_like(ids_BL)
    words.first_positions(word_BL, start_BW)
    assert start_BW[0, :3].tolist() == [1, 2, 6]
