"""The compiled arithmetic against Python's integers and exact logarithms."""

import math

import numpy as np
import pytest

pytest.importorskip("numba")

import numba

from bmae_lightning.pretraining.kernels import arithmetic


@numba.njit
def mixed(bits):
    return arithmetic.mix(bits)


@numba.njit
def unit(bits):
    return arithmetic.unit(bits)


@numba.njit
def logs(bits_W, part_W, log_W):
    arithmetic.log(bits_W, bits_W.size, part_W, log_W)


def slow_mix(bits):
    """splitmix64's finaliser in integers of any size."""
    mask = (1 << 64) - 1
    bits = (bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9 & mask
    bits = (bits ^ (bits >> 27)) * 0x94D049BB133111EB & mask
    return bits ^ (bits >> 31)


BITS = [0, 1, 2**63, 2**64 - 1, 0x9E3779B97F4A7C15, *(pow(7, index, 2**64) for index in range(1, 200))]


@pytest.mark.parametrize("bits", BITS)
def test_the_finaliser_is_that_of_splitmix64(bits):
    assert int(mixed(np.uint64(bits))) == slow_mix(bits)


def test_known_values():
    """The first outputs of the generator with seed 0, as published with it (Vigna, splitmix64.c)."""
    outputs = [int(mixed(np.uint64(step * int(arithmetic.STRIDE) % 2**64))) for step in (1, 2)]
    assert outputs == [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4]


@pytest.mark.parametrize("bits", BITS)
def test_numbers_lie_in_the_open_unit_interval(bits):
    value = unit(np.uint64(bits))
    assert value == ((bits >> 12) + 0.5) / 2**52
    assert 0 < value < 1


def test_logarithms_are_nearly_exact():
    draw = np.random.default_rng(0)
    values = np.concatenate([draw.random(5000), 10.0 ** draw.uniform(-300, 300, 5000), [1.0, 2.0, 0.5, 2.0**-52]])
    found = np.empty(len(values))
    logs(values.view(np.int64), np.empty(len(values)), found)
    exact = np.array([math.log(value) for value in values])
    assert found[-4] == 0.0
    assert (np.abs(found - exact) <= 1e-15 * np.maximum(np.abs(exact), 1e-15) * 2).all()
