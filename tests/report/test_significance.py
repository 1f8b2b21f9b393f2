"""What a report says of differences: those to the reference, clear ones with daggers, and how many seeds they need."""

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from bmae_lightning.evaluation.measure.bootstrap import interval, resampled_means
from bmae_lightning.evaluation.measure.power import runs_needed
from bmae_lightning.evaluation.measure.significance import Difference
from bmae_lightning.report.content import Arm, Report
from bmae_lightning.report.significance import ABOUT, ABOUT_SEEDS, ONE_SEED, significance_tables, with_intervals
from bmae_lightning.report.tables import measures_table
from bmae_lightning.runtime.mean import Mean, mean_of

SMALL, LARGE = 0.04, 0.2
RUNS = {"no pre-training": [0.30, 0.31, 0.32], "retromae": [0.32, 0.31, 0.35], "same": [0.31, 0.31, 0.31]}


def difference(arm, against="no pre-training", p=SMALL, **more):
    return replace(Difference("RR@10", arm, against, 20, 0.012, p, p, p, p), **more)


@pytest.fixture
def seeds() -> Report:
    arms = [Arm("bm25", {"RR@10": 0.2}, 20, node="bm25")]
    arms += [Arm(name, {"RR@10": mean_of(runs)}, 20, node=f"evaluate@{name}") for name, runs in RUNS.items()]
    rows = [difference("bm25", p=LARGE), difference("retromae"), difference("same", randomisation_holm=LARGE)]
    return Report("x", arms=arms, differences=rows, reference="no pre-training")


def test_clear_differences_to_the_reference_have_daggers(seeds):
    table = measures_table(seeds)
    names = [row[0] for row in table.rows]
    assert {names[row] for row, _ in table.signs()} == {"retromae"}
    assert table.daggers() == {"†": "differs from no pre-training (Holm, p < 0.05)"}
    assert (names.index("retromae"), 1) in table.emphasis(), "the best value has both marks"
    assert not measures_table(replace(seeds, reference="")).signs(), "all pairs have no reference"


def test_a_table_says_what_is_tested_and_how_many_seeds_it_needs(seeds):
    (table,) = significance_tables(seeds)
    assert table.title == "Differences in RR@10"
    assert table.columns[0].name == "RR@10\ndifferences to no pre-training"
    less = np.mean(RUNS["retromae"]) - np.mean(RUNS["no pre-training"])
    sd = np.sqrt((np.var(RUNS["retromae"], ddof=1) + np.var(RUNS["no pre-training"], ddof=1)) / 2)
    assert table.notes == (
        ABOUT,
        f"RR@10, retromae − no pre-training: +{less:.3f} with sd {sd:.3f} over seeds; a difference of this size needs "
        f"about {runs_needed(less, sd)} seeds per arm.",
        "RR@10, same − no pre-training: +0.000 with sd 0.007 over seeds, from which no number of seeds follows.",
        "bm25 − no pre-training: one of the two has one run alone, so no sd over seeds is known.",
        ABOUT_SEEDS,
    )


def test_runs_of_the_same_seeds_are_paired(seeds):
    single = [
        Arm(f"{name} seed={seed}", {"RR@10": value}, 20)
        for name, runs in RUNS.items() if name != "same" for seed, value in enumerate(runs)
    ]  # fmt: skip
    report = replace(seeds, single=[*single, Arm("retromae rate=1 seed=7", {"RR@10": 0.9}, 20)])
    (table,) = significance_tables(report)
    less = np.subtract(RUNS["retromae"], RUNS["no pre-training"])
    sd = less.std(ddof=1)
    assert table.notes[1] == (
        f"RR@10, retromae − no pre-training: +{less.mean():.3f} with sd {sd:.3f} over shared seeds; a difference of "
        f"this size needs about {runs_needed(less.mean(), sd, groups=1)} seeds per arm."
    )
    (table,) = significance_tables(replace(report, single=report.single[1:]))
    assert "over seeds" in table.notes[1], "one row lacks a seed"


def test_one_seed_is_said_where_something_was_trained(seeds):
    one = [replace(arm, measures={"RR@10": 0.3}) for arm in seeds.arms]
    (table,) = significance_tables(replace(seeds, arms=one))
    assert table.notes == (ABOUT, ONE_SEED)
    files = [replace(arm, node="") for arm in one]
    (table,) = significance_tables(replace(seeds, arms=files, reference=""))
    assert table.notes == (ABOUT,), "runs from files have no seed"
    assert table.columns[0].name == "RR@10"


def test_seeds_that_agree_to_the_last_digit(seeds):
    arms = [replace(arm, measures={"RR@10": Mean(0.1 * i, 0.0, 3)}) for i, arm in enumerate(seeds.arms)]
    (table,) = significance_tables(replace(seeds, arms=arms))
    assert table.notes[2] == (
        "RR@10, retromae − no pre-training: +0.100 with sd 0.000 over seeds, from which no number of seeds follows."
    )


def test_intervals_are_those_of_the_queries_of_each_split():
    draw = np.random.default_rng(0)
    values = {
        split: {"a": {"m": {f"q{i:02}": draw.random() for i in range(30)}, "unseen": {"q": 1.0}}} for split in "xy"
    }
    arms = [
        Arm("a", {"m": 0.5, "lost": 0.1}, 30, split="x"),
        Arm("a", {"m": 0.5}, 30, split="y"),
        Arm("b", {"m": 1.0}, 30),
    ]
    found = with_intervals(arms, values)
    for arm in found[:2]:
        queries = np.array(list(values[arm.split]["a"]["m"].values()))[:, None]
        assert arm.interval == {"m": pytest.approx(interval(resampled_means(queries))[0])}
        low, high = stats.bootstrap(
            (queries[:, 0],), np.mean, method="percentile", n_resamples=4000, rng=1
        ).confidence_interval
        assert arm.interval["m"] == pytest.approx((low, high), abs=0.015)
    assert found[2].interval == {}
    assert json.loads(Report("x", arms=found).to_json())["arms"][0]["interval"]["m"] == list(found[0].interval["m"])
