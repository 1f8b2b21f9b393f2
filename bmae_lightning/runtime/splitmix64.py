"""splitmix64 (Steele, Lea, Flood 2014, Fast Splittable Pseudorandom Number Generators): 64 random bits of a counter.

Output n of a generator that starts at `state` is mix(state + n * STRIDE), so that any output is found without the
others. `finaliser` holds the operations; `mix` is made of it for numpy and numba, `pretraining.noise` makes it for
torch, whose int64 has no logical shift.
"""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np

GOLDEN = 0x9E3779B97F4A7C15
"""2^64 divided by the golden ratio: the distance of two counters."""


def signed(value: int) -> int:
    """The int64 with the same 64 bits as the unsigned value."""
    value &= (1 << 64) - 1
    return value - (1 << 64) if value >> 63 else value


def finaliser(shift_right: Callable[[Any, Any], Any], number: Callable[[int], Any]) -> Callable[[Any], Any]:
    """The function that turns a counter into random bits.

    Args:
        shift_right: shifts the bits of its first argument, zeros follow.
        number: makes an unsigned integer one of the type of the bits.
    """
    first, second = number(0xBF58476D1CE4E5B9), number(0x94D049BB133111EB)
    _30, _27, _31 = number(30), number(27), number(31)

    def mix(bits: Any) -> Any:
        """splitmix64's finaliser: a bijection in which every input bit moves about half of the output bits."""
        bits = (bits ^ shift_right(bits, _30)) * first
        bits = (bits ^ shift_right(bits, _27)) * second
        return bits ^ shift_right(bits, _31)

    return mix


STRIDE = np.uint64(GOLDEN)
mix = finaliser(operator.rshift, np.uint64)
"""Of numpy's uint64, arrays or numbers."""


def outputs(state: int, n: int) -> np.ndarray:
    """The outputs 1 .. n of the generator that starts at `state`: uint64 [n]."""
    return mix(np.uint64(state) + np.arange(1, n + 1, dtype=np.uint64) * STRIDE)
