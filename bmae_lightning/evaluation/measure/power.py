"""How many runs per arm a difference of means would need to be found by a t-test, of two groups of runs or of pairs."""

import math

LEVEL, POWER = 0.05, 0.8
"""Two-sided level of the test; the probability that it finds the difference."""
EXACT_UP_TO = 100_000
"""Runs per arm above which the normal distribution stands for Student's."""
CERTAIN, FAR = 100, 5
"""An effect that two runs find for certain; a noncentrality above which the other tail is empty, which scipy may call
nan."""


def pooled_sd(first: float, first_runs: int, second: float, second_runs: int) -> float:
    """The standard deviation that two groups of runs have in common, from that of each."""
    freedom = first_runs + second_runs - 2
    return math.sqrt(((first_runs - 1) * first**2 + (second_runs - 1) * second**2) / freedom)


def runs_needed(difference: float, sd: float, groups: int = 2, level: float = LEVEL, power: float = POWER) -> int:
    """The fewest runs in each of two groups with which the two-sided t-test finds `difference` with this power.

    With n runs each, δ = |difference| / sd and 2n - 2 degrees of freedom the power is P(|T| > t), where T has the
    noncentral t distribution of noncentrality δ √(n/2) (Cohen, Statistical Power Analysis, 2nd edition, 1988, §2.3).
    The search begins at the normal approximation 2 (z_{1-level/2} + z_power)² / δ², which is never above it.

    groups: 1 where runs are paired, so that `sd` is that of their differences: 1 stands for each 2 above.

    Raises:
        ValueError: `difference` or `sd` is 0 or not finite, so that no number is right.
    """
    from scipy.special import nctdtr, ndtri, stdtrit

    effect = abs(difference) / sd if sd > 0 else math.inf
    if not 0 < effect < math.inf:
        raise ValueError(f"no number of runs for a difference of {difference} with sd {sd}")
    effect = min(effect, CERTAIN)
    normal = groups * ((ndtri(1 - level / 2) + ndtri(power)) / effect) ** 2
    if normal > EXACT_UP_TO:
        return math.ceil(normal)
    runs = max(2, math.floor(normal))
    while True:
        freedom, shift = groups * (runs - 1), effect * math.sqrt(runs / groups)
        critical = stdtrit(freedom, 1 - level / 2)
        other_tail = nctdtr(freedom, shift, -critical) if shift < FAR else 0.0
        if 1 - nctdtr(freedom, shift, critical) + other_tail >= power:
            return runs
        runs += 1
