"""Jobs that differ in their seed alone: one row of means over seeds, whatever other jobs share or lack."""

import json
import random
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from bmae_lightning.report.content import Arm, Curve, Diagnosis, Report, read_report, write_report
from bmae_lightning.report.seeds import by_setting, mean_table, settings_of
from bmae_lightning.report.sweep import compare
from bmae_lightning.runtime.mean import Mean
from bmae_lightning.runtime.table import BEST_OF_COLUMN, PAPER, Column, Table, text

RATES, SEEDS = (0.3, 0.5), (1, 2, 3)


def value(name, rate, seed):
    """A measure that depends on the arm, on the rate where it is pre-trained, and on the seed but for BM25."""
    return {"bm25": 0.2, "none": 0.3 + seed / 100}.get(name, 0.4 + rate / 10 + seed**2 / 100)


def job(tmp_path, rate, seed, **more):
    """A finished job of a sweep over a rate and the seed; more: of its report."""
    directory = tmp_path / f"report {rate} {seed}"
    places = {
        "bm25": str(tmp_path / "b"), "evaluate@none": str(tmp_path / f"n{seed}"),
        "evaluate@retromae": str(tmp_path / f"r{rate}-{seed}"),
    }  # fmt: skip
    arms = [
        Arm({"none": "no pre-training"}.get(name, name), {"RR@10": value(name, rate, seed)}, 20, f"encodes {seed}",
            node=key, split="test")
        for key in places
        for name in [key.rpartition("@")[2]]
    ]  # fmt: skip
    write_report(directory / "report.json", replace(Report("x", "s", arms, tested={"test": ["RR@10"]}), **more))
    return {
        "overrides": ["+experiment=retromae", f"rate={rate}", f"seed={seed}", "group='x'"],
        "nodes": places | {"report": str(directory)},
    }


def grid(tmp_path, without=()):
    return [job(tmp_path, rate, seed) for rate in RATES for seed in SEEDS if (rate, seed) not in without]


def failed(rate, seed, state="failed", reason="out of memory"):
    overrides = ["+experiment=retromae", f"rate={rate}", f"seed={seed}", "group='x'"]
    return {"overrides": overrides, "state": state, "reason": reason, "name": "retromae"}


def compared(jobs, tmp_path, **more):
    compare(jobs, tmp_path / "all", **more)
    return read_report(tmp_path / "all" / "report.json")


def test_seeds_are_one_row_with_mean_and_spread(tmp_path, capsys):
    jobs = grid(tmp_path)
    random.Random(0).shuffle(jobs)
    report = compared(jobs, tmp_path)
    found = {arm.name: arm for arm in report.arms}
    assert sorted(found) == ["bm25", "no pre-training", "retromae rate=0.3", "retromae rate=0.5"]
    for name, arm, rate in (("no pre-training", "none", 0.3), *((f"retromae rate={r}", "retromae", r) for r in RATES)):
        runs = [value(arm, rate, seed) for seed in SEEDS]
        mean = found[name].measures["RR@10"]
        assert mean == pytest.approx(statistics.mean(runs))
        assert isinstance(mean, Mean)
        assert (mean.sd, mean.runs) == (pytest.approx(statistics.stdev(runs)), 3)
        assert found[name].note == "mean of 3 seeds"
    assert found["bm25"].measures == {"RR@10": 0.2}
    assert not isinstance(found["bm25"].measures["RR@10"], Mean), "one computation has no spread"
    assert {arm.name: arm.measures["RR@10"] for arm in report.single} == {
        f"{row} seed={seed}": value(arm, rate, seed)
        for row, arm, rate in (
            ("no pre-training", "none", 0.3), *((f"retromae rate={rate}", "retromae", rate) for rate in RATES)
        )
        for seed in SEEDS
    }  # fmt: skip
    assert "0.477 ± 0.040" in capsys.readouterr().out


def test_a_sweep_over_the_seed_alone_has_no_overrides_in_its_names(tmp_path):
    report = compared([job(tmp_path, 0.3, seed) for seed in SEEDS], tmp_path)
    assert [arm.name for arm in report.arms] == ["bm25", "no pre-training", "retromae"]


def test_a_seed_that_failed_leaves_the_mean_of_the_others(tmp_path):
    """The row without pre-training, which another job of that seed has measured, lacks nothing."""
    report = compared(grid(tmp_path, without={(0.3, 2)}), tmp_path, failed=[failed(0.3, 2)])
    found = {arm.name: arm for arm in report.arms}
    assert list(found) == ["bm25", "no pre-training", "retromae rate=0.3", "retromae rate=0.5"]
    assert found["retromae rate=0.3"].note == "2 of 3 seeds; seed=2 failed"
    assert found["retromae rate=0.3"].measures["RR@10"].runs == 2
    assert found["retromae rate=0.3"].measures["RR@10"] == pytest.approx((0.44 + 0.52) / 2)
    assert found["no pre-training"].measures["RR@10"].runs == 3
    assert found["no pre-training"].note == "mean of 3 seeds"
    assert found["bm25"].note == "encodes 1"


def test_settings_that_lack_different_seeds_still_share_a_row(tmp_path):
    lost = {(0.3, 2), (0.5, 1), (0.5, 3)}
    report = compared(grid(tmp_path, without=lost), tmp_path, failed=[failed(0.5, 1), failed(0.5, 3, "not run", "")])
    found = {arm.name: arm for arm in report.arms}
    assert found["retromae rate=0.5"].note == "1 of 3 seeds; seed=1 failed; seed=3 not run"
    assert found["no pre-training rate=0.3"].measures["RR@10"].runs == 2, "no job says that these are one row"
    more = [*grid(tmp_path, without=lost), job(tmp_path, 0.7, 1), job(tmp_path, 0.7, 2)]
    found = {arm.name: arm for arm in compared(more, tmp_path, failed=[failed(0.5, 1)]).arms}
    assert found["no pre-training"].measures["RR@10"].runs == 3, "the third setting shares a seed with each of them"


def test_settings_without_any_result_stand_as_failed_or_not_run(tmp_path, capsys):
    lost = [failed(0.5, 1, reason="a"), failed(0.5, 2, reason="b"), failed(0.7, 1, "not run", "")]
    report = compared([job(tmp_path, 0.3, 1)], tmp_path, failed=lost)
    assert [(arm.name, arm.state, arm.note, arm.measures) for arm in report.arms[3:]] == [
        ("retromae rate=0.5", "failed", "a; b", {}), ("retromae rate=0.7", "not run", "", {})
    ]  # fmt: skip
    printed = capsys.readouterr().out
    assert "retromae rate=0.5: a; b" in printed
    rows = (tmp_path / "all" / "tables" / "measures.csv").read_text().splitlines()
    assert rows[-2:] == ["retromae rate=0.5,failed,", "retromae rate=0.7,not run,"]
    for name in ("all/report.html", "all/tables/measures.tex", "all/tables/measures.md"):
        assert "not run" in (tmp_path / name).read_text()


def test_settings_stand_in_the_order_of_their_jobs(tmp_path):
    """That of rate=0.1 has failed, of rate=0.3 the first seed."""
    every = [(seed, rate) for seed in SEEDS for rate in (0.1, *RATES)]
    done = [job(tmp_path, rate, seed) | {"number": i} for i, (seed, rate) in enumerate(every)
            if rate > 0.1 and (rate, seed) != (0.3, 1)]  # fmt: skip
    lost = [failed(rate, seed) | {"number": i} for i, (seed, rate) in enumerate(every)
            if rate == 0.1 or (rate, seed) == (0.3, 1)]  # fmt: skip
    names = [arm.name for arm in compared(done, tmp_path, failed=lost).arms]
    assert names == ["retromae rate=0.1", "bm25", "no pre-training", "retromae rate=0.3", "retromae rate=0.5"]


def test_a_sweep_of_failures_alone_has_its_page(tmp_path):
    about = Table("Jobs", ["job", "state"], [["0", "failed"]])
    report = compared([], tmp_path, failed=[failed(0.3, 1) | {"name": None}], about=about)
    assert [(arm.name, arm.state) for arm in report.arms] == [("failed", "failed")]
    assert report.jobs == about
    assert "out of memory" in (tmp_path / "all" / "report.html").read_text()


def test_the_tests_are_of_values_averaged_over_seeds(tmp_path):
    draw = random.Random(1)
    jobs, kept = grid(tmp_path), {}
    for directory in {path for each in jobs for key, path in each["nodes"].items() if key != "report"}:
        kept[Path(directory).name] = {f"q{i}": draw.random() for i in range(20)}
        write = Path(directory) / "per_query.test.json"
        write.parent.mkdir(exist_ok=True)
        write.write_text(json.dumps({"RR@10": kept[write.parent.name]}))
    (row,) = (
        row for row in compared(jobs, tmp_path).differences
        if {row.arm, row.against} == {"no pre-training", "retromae rate=0.5"}
    )  # fmt: skip
    less = [
        statistics.mean(kept[f"r0.5-{seed}"][f"q{i}"] for seed in SEEDS)
        - statistics.mean(kept[f"n{seed}"][f"q{i}"] for seed in SEEDS)
        for i in range(20)
    ]
    assert row.difference == pytest.approx(statistics.mean(less))
    from scipy import stats

    assert row.t == pytest.approx(stats.ttest_1samp(less, 0).pvalue)


def test_tables_of_stages_are_means_where_the_seed_changes_them(tmp_path):
    """Arms of a table by their own runs; a stage that all arms share by its runs."""
    jobs = []
    columns = ["arm", Column("accuracy", ".2f", True), Column("examples", ",")]
    for rate in RATES:
        for seed in SEEDS:
            rows = [
                ["no pre-training", 0.5, 100],
                [f"retromae: dev\nloss {seed}", rate + seed / 10, 100],
                ["paper", 0.9, ""],
            ]
            glue = Table("GLUE", columns, rows, [(2, 0, PAPER)]).with_best()
            suite = Table("Zero-shot", ["set", Column("retromae", ".2f", True)], [["NQ", rate * seed]])
            names = {"glue@none": "no pre-training", "glue@retromae": "retromae"}
            made = job(tmp_path, rate, seed, tables={"glue": [glue], "suite": [suite]}, names=names)
            made["nodes"] |= {"glue@none": "g", "glue@retromae": f"g{rate}{seed}", "suite": f"s{rate}{seed}"}
            jobs.append(made)
    tables = compared(jobs, tmp_path).tables
    (glue,) = tables["glue"]
    names = ["no pre-training", "retromae rate=0.3: dev", "paper", "retromae rate=0.5: dev", "paper"]
    assert [row[0] for row in glue.rows] == names
    assert glue.rows[0] == ("no pre-training", 0.5, 100)
    assert [glue.cells(row)[1] for row in range(4)] == ["0.50", "0.50 ± 0.10", "0.90", "0.70 ± 0.10"]
    assert glue.emphasis() == {(3, 1): BEST_OF_COLUMN}
    assert [(table.title, table.cells(0)) for table in tables["suite"]] == [
        ("Zero-shot rate=0.3", ["NQ", "0.60 ± 0.30"]), ("Zero-shot rate=0.5", ["NQ", "1.00 ± 0.50"])
    ]  # fmt: skip


def test_curves_and_diagnoses_of_pre_training_are_means_over_seeds(tmp_path):
    jobs = []
    for seed in SEEDS:
        curve = Curve("Pre-training (retromae)", {"mlm": [(1, 3.0 + seed), (2, 1.0)], "dec": [(1, 1.0)]})
        table = Table("t", ["step 2", Column("hidden", ".1%"), Column("use", ".2f")], [["dec", 0.5, seed / 10]])
        made = job(tmp_path, 0.3, seed, curves=[curve], diagnoses=[Diagnosis("retromae", [], table)])
        made["nodes"]["pretrain@retromae"] = f"p{seed}"
        jobs.append(made)
    report = compared(jobs, tmp_path)
    (curve,) = report.curves
    assert curve.title == "Pre-training (retromae), mean of 3 seeds"
    assert curve.series == {"mlm": [(1, 5.0), (2, 1.0)], "dec": [(1, 1.0)]}
    (found,) = report.diagnoses
    assert found.table.cells(0) == ["retromae: dec", "50.0 % ± 0.0 %", "0.20 ± 0.10"]


def test_rows_of_one_name_and_missing_values_in_a_mean():
    def table(first, second, third):
        return Table("t", ["", Column("x", ".1f")], [["a", first], ["a", second], ["b", third]])

    runs = [table(1.0, 2.0, 3.0), table(3.0, 2.0, None)]
    assert text(mean_table(runs[0], lambda _: runs)).split()[-3:] == ["0.0", "b", "-"]
    assert [row[1] for row in mean_table(runs[0], lambda _: runs).rows] == [2.0, 2.0, None]


def test_jobs_of_one_setting_and_seed_are_not_averaged():
    one, two = (
        {"overrides": ["a=1", "seed=1"], "nodes": {"k": "x"}},
        {"overrides": ["a=1", "seed=1"], "nodes": {"k": "y"}},
    )
    ten = {"overrides": ["seed=10", "a=1"], "nodes": {"k": "z"}}
    assert by_setting([ten, one, two]) == [[one, ten], [two]]
    assert [each["nodes"] for each in settings_of([ten, one, two])] == [{"k": ("x", "z")}, {"k": ("y",)}]
