"""Whether arms differ by more than chance: two paired tests on values per query, adjusted over all that are made.

The t-test and the randomisation test are two-sided; the p values of each are adjusted by Holm's step-down rule. The
interval of a difference is that of a paired bootstrap.

Shapes: Q queries, A arms, P pairs of arms, F sign flips, B resamples.
"""

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bmae_lightning.evaluation.measure.bootstrap import interval, resampled_means

FLIPS, SEED = 10_000, 0
AT_ONCE = 4_000_000
"""Signs held in memory, 8 bytes each."""
ROUNDING = 1e-9
"""Sums of flipped differences that are this close, as a share of all they could be, count as equal."""


@dataclass(frozen=True)
class Difference:
    """`arm` less `against` in the mean of `measure` over the queries (of `split`) that both were judged on.

    t, randomisation: p values, nan where one query alone allows none.
    t_holm, randomisation_holm: the same, adjusted for all pairs that were tested with them.
    interval: ends of the bootstrap interval of the difference.
    """

    measure: str
    arm: str
    against: str
    queries: int
    difference: float
    t: float
    t_holm: float
    randomisation: float
    randomisation_holm: float
    split: str = ""
    interval: tuple[float, float] | None = None


def differences(
    measure: str,
    values: Mapping[str, Mapping[str, float]],
    pairs: Collection[tuple[str, str]] | None = None,
    flips: int = FLIPS,
    seed: int = SEED,
) -> list[Difference]:
    """The differences of pairs of arms that were judged on the same queries.

    values: arm -> query id -> value of the measure.  pairs: (arm, against); None: all, the later arm of `values`
    against the earlier one.  flips, seed: of `randomisation_test`.
    """
    alike: dict[tuple[str, ...], list[str]] = {}
    for arm, per_query in values.items():
        alike.setdefault(tuple(sorted(per_query)), []).append(arm)
    found, numbers = [], [np.empty((0, 5))]
    for queries, arms in alike.items():
        every = [(second, first) for first, second in combinations(arms, 2)]
        chosen = every if pairs is None else [pair for pair in pairs if set(pair) <= set(arms)]
        if not chosen or not queries:
            continue
        arm_P, against_P = np.array([[arms.index(arm) for arm in pair] for pair in chosen]).T
        values_QA = np.array([[values[arm][query] for arm in arms] for query in queries], dtype=np.float64)
        less_QP, means_BA = values_QA[:, arm_P] - values_QA[:, against_P], resampled_means(values_QA)
        ends_P2 = interval(means_BA[:, arm_P] - means_BA[:, against_P])
        tests = less_QP.mean(0), t_test(less_QP), randomisation_test(less_QP, flips, seed)
        numbers.append(np.column_stack([*tests, ends_P2]))
        found += [(*pair, len(queries)) for pair in chosen]
    less_P, t_P, randomisation_P, low_P, high_P = np.concatenate(numbers).T
    columns = less_P, t_P, holm(t_P), randomisation_P, holm(randomisation_P), low_P, high_P
    return [
        Difference(measure, *pair, *tests, interval=(low, high))
        for pair, (*tests, low, high) in zip(found, np.stack(columns, axis=1).tolist(), strict=True)
    ]


def t_test(less_QP: np.ndarray) -> np.ndarray:
    """p values [P] of Student's paired t-test, from the differences of two arms per query; 1 where all are 0."""
    from scipy.special import stdtr

    count = len(less_QP)
    if count < 2:
        return np.full(less_QP.shape[1], math.nan)
    with np.errstate(divide="ignore", invalid="ignore"):
        t_P = less_QP.mean(0) / (less_QP.std(0, ddof=1) / math.sqrt(count))
    return np.where((less_QP == 0).all(0), 1.0, 2 * stdtr(count - 1, -np.abs(t_P)))


def randomisation_test(less_QP: np.ndarray, flips: int = FLIPS, seed: int = SEED) -> np.ndarray:
    """p values [P] of the paired randomisation test, from the differences of two arms per query.

    The share of sign flips of the differences whose sum is at least as far from 0: of all flips where there are at most
    `flips`, else of that many drawn ones and the one observed. Drawn flips depend on `seed` and Q alone.
    """
    observed_P = np.abs(less_QP.sum(0)) - ROUNDING * np.abs(less_QP).sum(0)
    few_P = (less_QP != 0).sum(0) <= math.log2(flips)
    p_P = np.empty(less_QP.shape[1])
    for pair in np.flatnonzero(few_P):
        moved = less_QP[less_QP[:, pair] != 0, pair]
        signs = 1 - 2 * (np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved)) & 1)
        p_P[pair] = np.mean(np.abs(signs @ moved) >= observed_P[pair])
    if not few_P.all():
        draw, reached_P = np.random.default_rng(seed), np.ones((~few_P).sum())
        step = max(1, AT_ONCE // len(less_QP))
        for start in range(0, flips, step):
            signs_FQ = draw.integers(0, 2, (min(step, flips - start), len(less_QP)), dtype=np.int8) * 2.0 - 1.0
            reached_P += (np.abs(signs_FQ @ less_QP[:, ~few_P]) >= observed_P[~few_P]).sum(0)
        p_P[~few_P] = reached_P / (flips + 1)
    return p_P


def holm(p: np.ndarray) -> np.ndarray:
    """Holm's adjusted p values [P].

    The i-th smallest of n is multiplied by n - i + 1; none is below that of a smaller p or above 1; nan stays nan.
    """
    known = np.flatnonzero(~np.isnan(p))
    order = known[np.argsort(p[known], kind="stable")]
    adjusted = np.full(len(p), math.nan)
    adjusted[order] = np.minimum(1.0, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return adjusted
