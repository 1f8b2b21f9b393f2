"""Products of shares and counts are those of the numbers as written."""

import math

import numpy as np

from bmae_lightning.runtime.shares import exact


def test_decimals_are_exact_where_floats_are_not():
    wrong = 0
    for percent in range(1, 100):
        for size in range(1, 513):
            assert math.floor(exact(percent / 100) * size) == percent * size // 100
            wrong += math.floor(percent / 100 * size) != percent * size // 100
    assert wrong == 25


def test_thirds_whole_numbers_and_numbers_of_numpy():
    assert exact(1 / 3) * 9 == 3
    assert exact(1e-4) * 10000 == exact(1) == exact(np.float32(1.0)) == 1
