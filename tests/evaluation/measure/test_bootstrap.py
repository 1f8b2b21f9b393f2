"""Bootstrap intervals against resamples drawn one by one, against the normal approximation, and with little memory."""

import tracemalloc

import numpy as np
import pytest

from bmae_lightning.evaluation.measure import bootstrap
from bmae_lightning.evaluation.measure.bootstrap import RESAMPLES, SEED, interval, intervals, resampled_means


def test_means_are_those_of_queries_drawn_one_by_one():
    values_QC = np.random.default_rng(1).random((7, 3))
    draw = np.random.default_rng(SEED)
    slow = []
    for _ in range(RESAMPLES):
        drawn = [int(draw.integers(0, 7)) for _ in range(7)]
        slow.append([sum(values_QC[query, column] for query in drawn) / 7 for column in range(3)])
    np.testing.assert_allclose(resampled_means(values_QC), slow, rtol=1e-12)


def test_ends_leave_as_many_means_on_either_side():
    means = np.sort(np.random.default_rng(0).normal(size=2001))[:, None]
    ((low, high),) = interval(np.random.default_rng(1).permutation(means))
    assert (low, high) == (means[50, 0], means[1950, 0])


def test_the_interval_is_near_the_normal_one_for_many_queries():
    values = np.random.default_rng(2).exponential(size=4000)
    found = intervals({"a": {f"q{i}": value for i, value in enumerate(values)}})["a"]
    error = values.std() / np.sqrt(4000)
    np.testing.assert_allclose(found, [values.mean() - 1.96 * error, values.mean() + 1.96 * error], atol=0.15 * error)


def test_draws_in_pieces_are_the_same_draws(monkeypatch):
    values_QC = np.random.default_rng(3).random((501, 2))
    whole = resampled_means(values_QC)
    monkeypatch.setattr(bootstrap, "AT_ONCE", 501 * 7)
    np.testing.assert_allclose(resampled_means(values_QC), whole, rtol=1e-12)


def test_columns_have_the_same_resamples_and_queries_any_order():
    """The interval of a - b is not that of independent draws: equal columns differ by nothing in every resample."""
    values = dict(zip("qrst", [0.1, 0.9, 0.4, 0.2], strict=True))
    found = intervals(
        {"a": values, "b": dict(reversed(values.items())), "lone": {"x": 1.0}, "other": {"x": 1.0, "y": 1.0}}
    )
    assert found["a"] == found["b"]
    assert found["other"] == (1.0, 1.0)
    assert list(found) == ["a", "b", "other"], "of one query there is no interval"
    means_BC = resampled_means(np.array([[0.1, 0.3], [0.5, 0.7], [0.0, 0.2]]))
    assert interval(means_BC[:, 1:] - means_BC[:, :1])[0] == pytest.approx((0.2, 0.2))


def test_seven_thousand_queries_of_ten_arms_in_five_measures_take_little_memory():
    values_QC = np.zeros((7000, 50))
    tracemalloc.start()
    try:
        resampled_means(values_QC, resamples=600)
        assert tracemalloc.get_traced_memory()[1] < 100 * 2**20
    finally:
        tracemalloc.stop()
