"""What the compiled loops share: the decorators, the arithmetic of noise.py, and its logarithm.

These are noise.py's functions, operation by operation.
Shapes: W numbers.
"""

import math

import numpy as np

from bmae_lightning.runtime import splitmix64
from bmae_lightning.runtime.compiled import compiler, inlined

LOG_2, ROOT_HALF = math.log(2), 0x3FE6A09E667F3BCD
LOG_SERIES = tuple(2 / odd for odd in range(21, 0, -2))
_12 = np.uint64(12)

compiled = compiler(__file__, splitmix64.__file__)
STRIDE, mix = splitmix64.STRIDE, inlined(splitmix64.mix)


@inlined
def unit(bits):
    """The number in (0, 1) that noise.py makes of 64 bits."""
    return (np.float64(bits >> _12) + 0.5) * 2.0**-52


@inlined
def log(bits_W, count, part_W, log_W):
    """noise.log, operation by operation: log_W of the floats with these bits; part_W is memory."""
    part_bits_W = part_W.view(np.int64)
    for w in range(count):
        part_bits_W[w] = bits_W[w] - ((bits_W[w] - ROOT_HALF) >> 52 << 52)
    for w in range(count):
        ratio = (part_W[w] - 1) / (part_W[w] + 1)
        square = ratio * ratio
        series = LOG_SERIES[0]
        for term in LOG_SERIES[1:]:
            series = series * square + term
        log_W[w] = np.float64((bits_W[w] - ROOT_HALF) >> 52) * LOG_2 + ratio * series
