"""Runs that a difference needs: scipy's noncentral t, published sample sizes, and t-tests of drawn runs."""

import math

import numpy as np
import pytest
from scipy import stats

from bmae_lightning.evaluation.measure.power import pooled_sd, runs_needed


def power(effect, runs, level=0.05, groups=2):
    """By scipy.stats, for two groups of `runs`, or for pairs."""
    freedom, shift = groups * (runs - 1), effect * math.sqrt(runs / groups)
    critical = stats.t.ppf(1 - level / 2, freedom)
    return stats.nct.sf(critical, freedom, shift) + stats.nct.cdf(-critical, freedom, shift)


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("effect", [0.05, 0.2, 0.37, 0.5, 0.8, 1.0, 1.3, 1.9, 2.5, 4.0, 9.0])
def test_fewest_runs_that_reach_the_power(effect, groups):
    runs = runs_needed(-effect * 0.008, 0.008, groups)
    assert power(effect, runs, groups=groups) >= 0.8
    assert runs == 2 or power(effect, runs - 1, groups=groups) < 0.8


def test_effects_at_which_scipy_has_no_number():
    """Its lower tail is nan at the first two; the last one is of seeds that agree but for rounding."""
    assert [runs_needed(effect, 1.0, groups) for effect in (37, 20 / math.sqrt(2), 1e16) for groups in (1, 2)] == [
        2
    ] * 6


def test_paired_t_tests_of_drawn_runs_find_the_difference_so_often():
    runs = runs_needed(0.012, 0.016, groups=1)
    draws = np.random.default_rng(0).normal(0.012, 0.016, (4000, runs))
    assert 0.78 < np.mean(stats.ttest_1samp(draws, 0, axis=1).pvalue < 0.05) < 0.9


def test_sample_sizes_of_cohens_table():
    """Cohen 1988, table 2.4.1, at two-sided 5 % and power 80 % for d = 0.2, 0.5 and 0.8."""
    assert [runs_needed(effect, 1.0) for effect in (0.2, 0.5, 0.8)] == [pytest.approx(393, abs=1), 64, 26]


def test_t_tests_of_drawn_runs_find_the_difference_so_often():
    runs = runs_needed(0.012, 0.008)
    draws = np.random.default_rng(0).normal(0, 0.008, (4000, 2, runs))
    p = stats.ttest_ind(draws[:, 0] + 0.012, draws[:, 1], axis=1).pvalue
    assert 0.78 < np.mean(p < 0.05) < 0.9


def test_small_effects_are_normal_and_none_is_refused():
    assert runs_needed(1e-4, 1.0) == math.ceil(2 * (stats.norm.ppf(0.975) + stats.norm.ppf(0.8)) ** 2 * 1e8)
    for difference, sd in ((0.0, 1.0), (0.1, 0.0), (math.nan, 1.0), (0.1, math.nan)):
        with pytest.raises(ValueError, match="no number of runs"):
            runs_needed(difference, sd)


def test_the_pooled_sd_is_that_of_deviations_from_each_mean():
    first, second = [0.1, 0.4, 0.2], [0.7, 0.9]
    groups = [np.array(group) - np.mean(group) for group in (first, second)]
    by_hand = math.sqrt(sum((group**2).sum() for group in groups) / 3)
    assert pooled_sd(np.std(first, ddof=1), 3, np.std(second, ddof=1), 2) == pytest.approx(by_hand)
