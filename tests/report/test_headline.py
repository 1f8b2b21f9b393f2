"""The sentences at the top of a page."""

from dataclasses import replace

from bmae_lightning.evaluation.measure.significance import Difference
from bmae_lightning.report.content import Arm, Origin, Report
from bmae_lightning.report.headline import headline, with_headline
from bmae_lightning.report.significance import ONE_SEED
from bmae_lightning.runtime.mean import Mean
from bmae_lightning.runtime.table import Table

BM25 = Arm("bm25", {"RR@10": 0.4912, "R@100": 0.9}, 208, node="bm25", split="test")
NONE = Arm("no pre-training", {"RR@10": 0.5034}, 208, node="evaluate@none", split="test")
OURS = Arm("retromae", {"RR@10": 0.5123}, 208, node="evaluate@retromae", split="test")
ROW = Difference("RR@10", "retromae", "no pre-training", 208, 0.0089, 0.0211, 0.0422, 0.02, 0.04, "test")


def test_one_method_against_no_pre_training_with_bm25_beside_it():
    report = Report("", arms=[BM25, NONE, OURS], differences=[ROW])
    assert headline(report) == [
        "RR@10 on test, 208 queries: retromae has 0.512, no pre-training has 0.503; a difference of +0.009, more than "
        "chance explains (adjusted p 0.0422 and 0.0400).",
        ONE_SEED,
        "bm25 has 0.491.",
    ]
    assert with_headline(report).headline == headline(report)


def test_what_one_test_alone_finds_is_not_told_from_chance():
    unclear = replace(ROW, arm=ROW.against, against=ROW.arm, difference=0.02, randomisation_holm=0.0500001)
    first = headline(Report("", arms=[BM25, NONE, OURS], differences=[unclear]))[0]
    assert first.endswith(
        "a difference of −0.020, which the tests cannot tell from chance (adjusted p 0.0422 and 0.0500)."
    )
    (first, _) = headline(Report("", arms=[NONE, OURS]))
    assert first.endswith("a difference of +0.009, which was not tested.")
    (first,) = headline(Report("", arms=[OURS]))
    assert (
        first == "RR@10 on test, 208 queries: retromae has 0.512; no row without pre-training was measured beside it."
    )
    assert headline(Report("", arms=[NONE])) == ["RR@10 on test, 208 queries: no pre-training has 0.503."]


def test_a_sweep_tells_its_best_row_its_lowest_and_what_is_higher_than_both():
    settings = [
        replace(OURS, name=f"retromae rate=0.{i}", measures={"RR@10": Mean(0.4 + 0.01 * i, 0.012, 3)})
        for i in (5, 1, 3)
    ]
    high = replace(BM25, measures={"RR@10": 0.7})
    foreign = replace(OURS, name="org/model", node="external@org/model", measures={"RR@10": 0.8})
    best = replace(ROW, arm="retromae rate=0.5", difference=-0.0534)
    report = Report("", arms=[high, NONE, *settings, foreign], differences=[ROW, best], reference=NONE.name)
    assert headline(report) == [
        "RR@10 on test, 208 queries: the best of 3 rows is retromae rate=0.5 with 0.450 ± 0.012 (3 seeds), no "
        "pre-training has 0.503; a difference of −0.053, more than chance explains (adjusted p 0.0422 and 0.0400).",
        "The lowest of these rows is retromae rate=0.1 with 0.410 ± 0.012 (3 seeds).",
        "bm25 has 0.700.",
        "The highest row of the table is org/model with 0.800.",
    ]


def test_rows_that_are_alike_have_no_lowest():
    assert not any("lowest" in line for line in headline(Report("", arms=[OURS, replace(OURS, name="other")])))


def test_a_named_reference_is_what_rows_are_judged_against():
    mlm = replace(OURS, name="mlm", node="evaluate@mlm", measures={"RR@10": 0.52})
    against = replace(ROW, against="mlm", difference=-0.0077, t_holm=0.9)
    first = headline(Report("", arms=[NONE, OURS, mlm], differences=[against], reference="mlm"))[0]
    assert "retromae has 0.512, mlm has 0.520; a difference of −0.008, which the tests cannot tell" in first


def test_each_rung_of_a_ladder_has_a_reference_of_its_own():
    second = [replace(arm, name=f"{arm.name} retriever2", node=arm.node.replace("evaluate", "evaluate2"))
              for arm in (NONE, OURS)]  # fmt: skip
    second = [replace(arm, measures={"RR@10": value}) for arm, value in zip(second, (0.6, 0.65), strict=True)]
    first = headline(Report("", arms=[NONE, OURS, *second]))[0]
    assert "the best of 2 rows is retromae retriever2 with 0.650, no pre-training retriever2 has 0.600; " in first


def test_every_setting_may_have_a_reference_of_its_own():
    names = {size: f"mlm encoder={size}" for size in ("small", "base")}
    arms = [replace(OURS, name=name, node="evaluate@mlm") for name in names.values()]
    arms += [replace(OURS, name=f"retromae encoder={size}", measures={"RR@10": 0.6 - 0.1 * (size == "base")})
             for size in names]  # fmt: skip
    rows = [replace(ROW, arm=f"retromae encoder={size}", against=names[size]) for size in names]
    first = headline(Report("", arms=arms, differences=rows, reference="mlm"))[0]
    assert "the best of 2 rows is retromae encoder=small with 0.600, mlm encoder=small has 0.512; " in first
    assert first.endswith("a difference of +0.009, more than chance explains (adjusted p 0.0422 and 0.0400).")


def test_the_interval_and_the_seeds_that_a_difference_needs():
    means = [replace(arm, measures={"RR@10": Mean(float(arm.measures["RR@10"]), 0.01, 3)}) for arm in (NONE, OURS)]
    row = replace(ROW, arm=NONE.name, against=OURS.name, difference=-0.0089, interval=(-0.02, 0.001))
    first, second = headline(Report("", arms=means, differences=[row]))
    assert "; a difference of +0.009 (95 % interval −0.001 to +0.020), more than chance explains (" in first
    assert second == "Over seeds the sd is 0.010; a difference of this size needs about 21 seeds per arm."
    single = [replace(arm, name=f"{arm.name} seed={i}", measures={"RR@10": arm.measures["RR@10"] + i * spread})
              for arm, spread in ((NONE, 0.01), (OURS, 0.012)) for i in (1, 2, 3)]  # fmt: skip
    assert headline(Report("", arms=means, differences=[row], single=single))[1] == (
        "Over seeds, which both rows share, the sd of the difference is 0.002; a difference of this size needs about 3 "
        "seeds per arm."
    )
    alike = [replace(arm, measures={"RR@10": Mean(float(arm.measures["RR@10"]), 0.0, 3)}) for arm in (NONE, OURS)]
    assert len(headline(Report("", arms=alike))) == 1
    assert len(headline(Report("", arms=[NONE, means[1]]))) == 1


def test_jobs_without_a_result_are_counted():
    jobs = Table("Jobs", ["job", "state"], [["0", "done"], ["1", "failed"], ["2", "failed"], ["3", "not started"]])
    assert headline(Report("", jobs=jobs)) == ["3 of 4 jobs have no result: 2 failed, 1 not started."]
    assert headline(Report("", jobs=replace(jobs, rows=jobs.rows[:1]))) == []
    rows = [OURS, replace(NONE, measures={}, state="failed")]
    assert headline(Report("", arms=rows))[1:] == ["1 of 2 rows has no result: 1 failed."]
    assert headline(Report("")) == []


def test_a_small_scale_is_no_evidence():
    small = replace(OURS, origins=[Origin({"scale": "laptop"})])
    assert headline(Report("", arms=[small]))[-1].endswith("no evidence about pre-training.")
    full = replace(OURS, origins=[Origin({"scale": "paper"})])
    assert len(headline(Report("", arms=[full]))) == 1
