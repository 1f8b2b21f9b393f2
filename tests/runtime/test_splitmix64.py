"""One sequence of operations gives the published numbers in every arithmetic that uses it."""

import numba
import numpy as np
import torch

from bmae_lightning.pretraining.kernels import arithmetic
from bmae_lightning.pretraining.noise import mix as torch_mix
from bmae_lightning.runtime.splitmix64 import GOLDEN, mix, outputs, signed

MASK = (1 << 64) - 1


def reference(value):
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & MASK
    return value ^ (value >> 31)


def test_the_outputs_are_those_of_the_published_generator():
    """The first outputs of the C code at https://prng.di.unimi.it/splitmix64.c, started at 1234567."""
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert outputs(1234567, 5).tolist() == published


def test_numpy_torch_and_compiled_loops_agree_with_integers():
    bits = np.random.default_rng(0).integers(0, 1 << 64, 1000, dtype=np.uint64)
    bits[:4] = [0, 1, MASK, 1 << 63]
    expected = [reference(value) for value in bits.tolist()]
    assert mix(bits).tolist() == expected
    assert torch_mix(torch.from_numpy(bits.view(np.int64))).numpy().view(np.uint64).tolist() == expected

    @numba.njit
    def loop(bits):
        made = np.empty_like(bits)
        for place in range(len(bits)):
            made[place] = arithmetic.mix(bits[place])
        return made

    assert loop(bits).tolist() == expected


def test_an_output_is_found_without_the_others():
    start = 3 * 2**63 + 5
    alone = [reference((start + n * GOLDEN) & MASK) for n in (1, 2, 3)]
    assert outputs(start & MASK, 3).tolist() == alone


def test_signed_keeps_the_bits():
    assert [signed(value) for value in (5, MASK, 1 << 63)] == [5, -1, -(1 << 63)]
