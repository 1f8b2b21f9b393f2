"""How far a mean over queries would move with other queries of the kind: percentile intervals of the bootstrap.

Queries are drawn with replacement, for all columns the same ones, so that a difference of two columns is that of a
paired bootstrap (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, §13.3; Sakai, SIGIR 2006, for measures
of rankings).

Shapes: Q queries, C columns (an arm in a measure), B resamples.
"""

from collections.abc import Hashable, Mapping
from typing import TypeVar

import numpy as np

RESAMPLES, SEED = 2_000, 0
COVERAGE = 0.95
AT_ONCE = 2_000_000
"""Draws held in memory, about 24 bytes each."""
Key = TypeVar("Key", bound=Hashable)


def intervals(values: Mapping[Key, Mapping[str, float]]) -> dict[Key, tuple[float, float]]:
    """The ends of the interval of every column's mean, of columns with two queries or more.

    values: column -> query id -> value.
    """
    alike: dict[tuple[str, ...], list[Key]] = {}
    for key, per_query in values.items():
        alike.setdefault(tuple(sorted(per_query)), []).append(key)
    found = {}
    for queries, keys in alike.items():
        if len(queries) > 1:
            values_QC = np.array([[values[key][query] for key in keys] for query in queries], dtype=np.float64)
            found |= dict(zip(keys, interval(resampled_means(values_QC)), strict=True))
    return {key: found[key] for key in values if key in found}


def resampled_means(values_QC: np.ndarray, resamples: int = RESAMPLES, seed: int = SEED) -> np.ndarray:
    """Means over the queries of every resample: [B, C]; which queries are drawn depends on `seed` and Q alone."""
    count, draw = len(values_QC), np.random.default_rng(seed)
    means_BC = np.empty((resamples, values_QC.shape[1]))
    step = max(1, AT_ONCE // count)
    for start in range(0, resamples, step):
        part = means_BC[start : start + step]
        drawn_BQ = draw.integers(0, count, (len(part), count)) + count * np.arange(len(part))[:, None]
        times_BQ = np.bincount(drawn_BQ.ravel(), minlength=drawn_BQ.size).reshape(drawn_BQ.shape)
        part[:] = times_BQ @ values_QC / count
    return means_BC


def interval(means_BC: np.ndarray) -> list[tuple[float, float]]:
    """The ends of the interval that holds `COVERAGE` of each column's means, as many on either side of it."""
    tail = (1 - COVERAGE) / 2
    return [(low, high) for low, high in np.quantile(means_BC, [tail, 1 - tail], axis=0).T.tolist()]
