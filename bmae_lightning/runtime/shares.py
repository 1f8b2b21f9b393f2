"""Shares as they are written: 0.29 of 100 is 29, though the product of the binary floating-point numbers is below."""

from fractions import Fraction


def exact(share: float) -> Fraction:
    """The decimal number that was written, or a simple fraction that is as near as a float can be (1/3).

    Its denominator is at most 10^9, so that products with counts up to that fit into 64 bits.
    """
    return Fraction(str(share)).limit_denominator(10**9)
