"""The loops for texts against plain Python, one position at a time."""

import numpy as np
import pytest

pytest.importorskip("numba")

from bmae_lightning.pretraining.kernels import texts

COUNT, LENGTH, SIZE = 12, 17, 40
DRAW = np.random.default_rng(0)
SIZES = DRAW.integers(2, LENGTH + 1, COUNT)
REAL_BL = np.arange(LENGTH) < SIZES[:, None]
IDS_BL = np.where(REAL_BL, DRAW.integers(0, SIZE, (COUNT, LENGTH)), 0)
SPECIAL_V = np.arange(SIZE) < 5


def numbers(key_B):
    value_BRL = np.empty((COUNT, 1, LENGTH))
    texts.uniform(0, COUNT, key_B, value_BRL)
    return value_BRL[:, 0]


def test_corruption_piece_by_piece():
    selected_BL = DRAW.random((COUNT, LENGTH)) < 0.6
    fate_B, random_B = (DRAW.integers(0, 2**63, COUNT).astype(np.uint64) for _ in range(2))
    new_BL, labels_BL, taken_BL = np.empty_like(IDS_BL), np.empty_like(IDS_BL), np.empty_like(selected_BL)
    texts.corrupt_pieces(
        IDS_BL, selected_BL, SPECIAL_V, fate_B, random_B, 4, 0.5, 0.8, -100, new_BL, labels_BL, taken_BL
    )
    fate_BL, random_BL = numbers(fate_B), numbers(random_B)
    kinds = set()
    for b in range(COUNT):
        for l in range(LENGTH):
            token = IDS_BL[b, l]
            if not selected_BL[b, l] or token < 5:
                expected = (token, -100, False)
            elif fate_BL[b, l] < 0.5:
                expected = (4, token, True)
            elif fate_BL[b, l] < 0.8:
                expected = (int(random_BL[b, l] * SIZE), token, True)
            else:
                expected = (token, token, True)
            kinds.add((expected[0] == 4, expected[0] == token, expected[2]))
            assert (new_BL[b, l], labels_BL[b, l], taken_BL[b, l]) == expected
    assert len(kinds) >= 4


@pytest.mark.parametrize("second", [False, True])
def test_halves_are_slices(second):
    width = (LENGTH - 1) // 2 + 2
    source_BH, half_BH = np.empty((COUNT, width), np.int64), np.empty((COUNT, width), np.int64)
    kept_BH = np.empty((COUNT, width), bool)
    texts.halve(IDS_BL, REAL_BL, second, 99, source_BH, half_BH, kept_BH)
    for b, size in enumerate(SIZES):
        content = IDS_BL[b, 1 : size - 1].tolist()
        middle = len(content) // 2
        part = content[middle:] if second else content[:middle]
        expected = [IDS_BL[b, 0], *part, IDS_BL[b, size - 1]]
        assert half_BH[b].tolist() == expected + [99] * (width - len(expected))
        assert kept_BH[b].sum() == len(expected)
        assert IDS_BL[b][source_BH[b][kept_BH[b]]].tolist() == expected


def test_visible_keys_of_a_group():
    index_G = np.array([7, 2, 5])
    size = int(SIZES[index_G].max())
    hidden_GRK = DRAW.random((3, 4, size)) < 0.5
    pick_GK = DRAW.integers(0, 4, (3, size))
    visible_BLL = np.ones((COUNT, LENGTH, LENGTH), bool)
    texts.visible_keys(0, 3, index_G, hidden_GRK, pick_GK, np.ascontiguousarray(REAL_BL[index_G, :size]), visible_BLL)
    for g, b in enumerate(index_G):
        for i in range(LENGTH):
            for j in range(LENGTH):
                real = i < SIZES[b] and j < SIZES[b]
                assert visible_BLL[b, i, j] == (real and i != j and not hidden_GRK[g, pick_GK[g, i], j])
    assert visible_BLL[[b for b in range(COUNT) if b not in index_G]].all(), "other passages are left alone"
