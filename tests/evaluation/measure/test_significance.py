"""Tests of differences against scipy.stats, against counting by hand, and Holm's rule on cases computed by hand."""

import math
from itertools import product

import numpy as np
import pytest
from scipy import stats

from bmae_lightning.evaluation.measure.significance import differences, holm, randomisation_test, t_test


def reciprocal_ranks(seed, queries, arms):
    return 1 / np.random.default_rng(seed).integers(1, 8, (queries, arms)) * 1.0


def test_t_test_is_scipys():
    values_QA = reciprocal_ranks(0, 40, 5)
    expected = [stats.ttest_rel(values_QA[:, arm], values_QA[:, 0]).pvalue for arm in range(1, 5)]
    np.testing.assert_allclose(t_test(values_QA[:, 1:] - values_QA[:, :1]), expected, rtol=1e-12)


def test_t_test_where_scipy_has_no_number():
    assert t_test(np.zeros((9, 1))).tolist() == [1.0]
    assert np.isnan(t_test(np.array([[0.5]]))).all()
    assert t_test(np.full((9, 1), 0.5)).tolist() == [0.0]


@pytest.mark.parametrize("seed", range(6))
def test_few_differences_are_flipped_in_every_way(seed):
    """Sums that tie are frequent among tenths, and floating point tells some of them apart."""
    tenths = np.random.default_rng(seed).integers(-4, 5, 10)
    less = tenths[:, None] / 10
    sums = [abs(sum(s * d for s, d in zip(signs, tenths, strict=True))) for signs in product((1, -1), repeat=10)]
    by_hand = sum(each >= abs(tenths.sum()) for each in sums) / 2**10
    assert randomisation_test(less).item() == pytest.approx(by_hand, abs=1e-12)
    scipys = stats.permutation_test(
        (less[:, 0], np.zeros(10)), lambda a, b: np.mean(a - b), permutation_type="samples", n_resamples=np.inf
    )
    assert randomisation_test(less).item() == pytest.approx(scipys.pvalue, abs=1e-12)


def test_drawn_flips_agree_with_all_flips_and_are_the_same_every_time():
    less_QP = np.random.default_rng(3).normal(0.2, 1, (13, 3))
    exact_P = randomisation_test(less_QP)
    drawn_P = randomisation_test(less_QP, flips=8000)  # fewer than 2^13
    np.testing.assert_allclose(drawn_P, exact_P, atol=4 * 0.5 / math.sqrt(8000))
    assert (drawn_P != exact_P).any()
    np.testing.assert_array_equal(drawn_P, randomisation_test(less_QP, flips=8000))
    assert (drawn_P != randomisation_test(less_QP, flips=8000, seed=1)).any()
    np.testing.assert_array_equal(drawn_P[1:], randomisation_test(less_QP[:, 1:], flips=8000))


def test_many_queries_in_pieces(monkeypatch):
    less_QP = np.random.default_rng(0).normal(0.05, 1, (400, 3))
    found_P = randomisation_test(less_QP)
    np.testing.assert_allclose(found_P, t_test(less_QP), atol=0.03)  # the two agree for many normal differences
    monkeypatch.setattr("bmae_lightning.evaluation.measure.significance.AT_ONCE", 400 * 999)
    np.testing.assert_allclose(randomisation_test(less_QP), found_P, atol=0.02)


def test_a_difference_that_chance_cannot_make_has_the_smallest_p_that_there_is():
    assert randomisation_test(np.full((200, 1), 0.1)).item() == 1 / 10_001
    assert randomisation_test(np.full((4, 1), 0.1)).item() == 2 / 16
    assert randomisation_test(np.zeros((200, 1))).item() == 1.0


@pytest.mark.parametrize(
    ("p", "adjusted"),
    [
        ([], []),
        ([0.03], [0.03]),
        ([0.01, 0.04, 0.03, 0.005], [0.03, 0.06, 0.06, 0.02]),  # 4 x .005; 3 x .01; 2 x .03; .04 is raised to .06
        ([0.02, 0.02, 0.02], [0.06, 0.06, 0.06]),
        ([0.9, 0.4], [0.9, 0.8]),
        ([0.5, 0.6], [1.0, 1.0]),
        ([0.01, math.nan, 0.02], [0.02, math.nan, 0.02]),  # of two, not of three
    ],
)
def test_holm_by_hand(p, adjusted):
    np.testing.assert_allclose(holm(np.array(p)), adjusted, atol=1e-15)


def test_all_pairs_of_arms_that_were_judged_on_the_same_queries():
    values_QA = reciprocal_ranks(7, 30, 3)
    values = {arm: {f"q{q}": values_QA[q, a] for q in range(30)} for a, arm in enumerate(["bm25", "none", "retromae"])}
    values["none"] = dict(reversed(values["none"].items()))  # the order of the queries does not count
    other = values | {"other": {"x1": 1.0, "x2": 0.0}, "another": {"x2": 0.5, "x1": 0.5}, "alone": {"y": 1.0}}
    found = differences("RR@10", values)
    assert [(row.arm, row.against) for row in found] == [("none", "bm25"), ("retromae", "bm25"), ("retromae", "none")]
    assert {(row.measure, row.queries) for row in found} == {("RR@10", 30)}
    assert found[1].difference == pytest.approx(values_QA[:, 2].mean() - values_QA[:, 0].mean())
    assert found[1].t == pytest.approx(stats.ttest_rel(values_QA[:, 2], values_QA[:, 0]).pvalue)
    np.testing.assert_allclose([row.t_holm for row in found], holm(np.array([row.t for row in found])))
    by_hand = holm(np.array([row.randomisation for row in found]))
    np.testing.assert_allclose([row.randomisation_holm for row in found], by_hand)
    from_none = differences("RR@10", other, [("bm25", "none"), ("retromae", "none"), ("other", "none")])
    assert [(row.arm, row.against) for row in from_none] == [("bm25", "none"), ("retromae", "none")]
    assert from_none[0].difference == -found[0].difference
    assert [row.t for row in from_none] == pytest.approx([found[0].t, found[2].t])
    np.testing.assert_allclose([row.t_holm for row in from_none], holm(np.array([found[0].t, found[2].t])))
    assert differences("RR@10", other, []) == []
    more = differences("RR@10", other)
    assert [(row.arm, row.against, row.queries) for row in more[3:]] == [("another", "other", 2)]
    assert [row.randomisation for row in more[:3]] == [row.randomisation for row in found]
    assert differences("RR@10", {"only": {"q": 1.0}}) == differences("RR@10", {}) == []


def test_the_interval_of_a_difference_is_that_of_a_paired_bootstrap():
    values_QA = reciprocal_ranks(5, 25, 2)
    (row,) = differences("m", {arm: {f"{q:02}": values_QA[q, a] for q in range(25)} for a, arm in enumerate("ab")})
    draw, means = np.random.default_rng(0), []
    for _ in range(2000):
        drawn = draw.integers(0, 25, 25)
        means.append(np.mean([values_QA[q, 1] - values_QA[q, 0] for q in drawn]))
    assert row.interval == pytest.approx((np.percentile(means, 2.5), np.percentile(means, 97.5)))
    assert row.interval[0] < row.difference < row.interval[1]
