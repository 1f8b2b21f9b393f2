"""A mean over runs that differ in their seed alone, which carries its spread wherever a number goes."""

import math
from collections.abc import Sequence


class Mean(float):
    """The mean of the values of several runs; it is used as a number, and tables print ± sd behind it.

    Attributes:
        sd: standard deviation of the values (n − 1), nan where it is not known.
        runs: how many values there are.
    """

    sd: float
    runs: int

    def __new__(cls, mean: float, sd: float, runs: int) -> "Mean":
        made = super().__new__(cls, mean)
        made.sd, made.runs = sd, runs
        return made

    def __getnewargs__(self) -> tuple[float, float, int]:
        return float(self), self.sd, self.runs

    def scaled(self, factor: float) -> "Mean":
        """The mean of as many values in another unit."""
        return Mean(float(self) * factor, self.sd * factor, self.runs)


def mean_of(values: Sequence[float]) -> float:
    """The mean of values of runs, one value as it is."""
    if len(values) == 1:
        return values[0]
    mean = math.fsum(values) / len(values)
    return Mean(mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1)), len(values))
