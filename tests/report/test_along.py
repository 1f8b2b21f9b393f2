"""Curves along a sweep: one line per arm, seeds as a mean, step 0 from the arm without pre-training."""

import json

import pytest

from bmae_lightning.report.along import curves_along, difference
from bmae_lightning.report.content import Arm, Report, read_report, write_report
from bmae_lightning.report.sweep import compare


def job(overrides, values, **places):
    """A finished job and its report; values: key of a node -> (its directory, the measure)."""
    names = {"none": "no pre-training", "": "bm25"}
    arms = []
    for key, (_, value) in values.items():
        stage, _, arm = key.partition("@")
        rung = {"evaluate2": " retriever2"}.get(stage, "")
        arms.append(Arm(names.get(arm, arm) + rung, {"RR@10": value}, 5, node=key))
    nodes = {key: directory for key, (directory, _) in values.items()}
    return {"overrides": overrides, "nodes": nodes, "places": places}, Report("x", "", arms)


def lines(*pairs):
    jobs, reports = zip(*pairs, strict=True)
    return {curve.title: curve.series for curve in curves_along(list(jobs), list(reports))}


def test_shares_of_the_training_queries():
    found = lines(
        *(
            job(
                [f"+experiment={name}", f"train_share={share}"],
                {"bm25": ("b", 0.2), "evaluate@none": (f"n{share}", share / 2),
                 f"evaluate@{name}": (f"{name}{share}", share)},
                train_share=share, pretrain_step=None,
            )
            for name in ("retromae", "dupmae")
            for share in (0.5, 0.1)
        )
    )  # fmt: skip
    assert found == {
        "RR@10 over the share of the training queries": {
            "bm25": [(10, 0.2), (50, 0.2)],
            "no pre-training": [(10, 0.05), (50, 0.25)],
            "retromae": [(10, 0.1), (50, 0.5)],
            "dupmae": [(10, 0.1), (50, 0.5)],
        }
    }


def test_any_number_of_which_jobs_take_three_values_is_an_axis():
    def swept(*rates):
        return lines(
            *(
                job(
                    [f"decoders.shallow.mask.rate={rate}", f"seed={seed}", "pretrain.lr=1e-4", f"reading={reading}"],
                    {"bm25": ("b", 0.2), "evaluate@a": (f"{rate}{seed}{reading}", rate + seed / 10)},
                )
                for rate in rates
                for seed in (1, 3)
                for reading in ("paper", "code")
            )
        )  # fmt: skip

    rates = {0.1: 0.3, 0.5: 0.7, 0.9: 1.1}
    assert swept(0.9, 0.1, 0.5) == {
        "RR@10 over decoders.shallow.mask.rate (mean ± sd of 2 seeds)": {
            "bm25": [(rate, 0.2) for rate in rates],
            "a reading=paper": [(rate, pytest.approx(value)) for rate, value in rates.items()],
            "a reading=code": [(rate, pytest.approx(value)) for rate, value in rates.items()],
        }
    }
    others = [job([f"pretrain.lr={lr}", f"+x/part=p{lr}"], {"evaluate@a": (f"a{lr}", lr)}) for lr in (1, 2, 3)]
    alone = job(["pretrain.lr=4"], {"evaluate@b": ("b", 0.5)})
    assert lines(*others, alone) == {"RR@10 over pretrain.lr": {"a": [(1, 1), (2, 2), (3, 3)]}}
    assert swept(0.9, 0.1) == {}, "a line of two points shows nothing that the table does not"


def test_steps_begin_without_pre_training_at_every_rung(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps({"step": 30}))
    found = lines(
        *(
            job(
                [f"pretrain_step={step}"],
                {
                    "bm25": ("b", 0.2), "evaluate@none": ("n", 0.3), "evaluate@a": (f"a{step}", 0.3 + step / 100),
                    "evaluate2@none": ("n2", 0.4), "evaluate2@a": (f"a2{step}", 0.4 + step / 100),
                },
                train_share=1.0, pretrain_step=step,
            )
            for step in (10, 20)
        ),
        job([], {"evaluate@a": ("a", 0.7)}, train_share=1.0, pretrain_step=None),
    )  # fmt: skip
    (series,) = found.values()
    assert series["a"] == [(0, 0.3), (10, 0.4), (20, 0.5)]
    assert series["a retriever2"] == [(0, 0.4), (10, 0.5), (20, pytest.approx(0.6))]
    assert series["no pre-training"] == [(0, 0.3), (10, 0.3), (20, 0.3)]
    assert series["bm25"][0] == (0, 0.2)


def test_the_end_is_where_the_pre_training_ended(tmp_path):
    (tmp_path / "metrics.json").write_text(json.dumps({"step": 30}))
    jobs = [
        job([f"pretrain_step={step}"], {"evaluate@a": (f"a{step}", 0.1)}, pretrain_step=step)
        for step in (10, None)
    ]  # fmt: skip
    for each, _ in jobs:
        each["nodes"]["pretrain@a"] = str(tmp_path)
    (series,) = lines(*jobs).values()
    assert series == {"a": [(10, 0.1), (30, 0.1)]}


def test_other_options_tell_lines_apart_and_seeds_are_averaged():
    found = lines(
        *(
            job(
                [f"train_share={share}", f"lr={lr}", f"seed={seed}"],
                {"bm25": ("b", 0.2), "evaluate@a": (f"{share} {lr} {seed}", share + lr + seed)},
                train_share=share,
            )
            for share in (0.1, 1.0)
            for lr in (1, 2)
            for seed in (10, 20, 60)
        )
    )  # fmt: skip
    ((title, series),) = found.items()
    assert title == "RR@10 over the share of the training queries (mean ± sd of 3 seeds)"
    assert series["bm25"] == [(10, 0.2), (100, 0.2)]
    assert series["a lr=1"] == [(10, pytest.approx(31.1)), (100, pytest.approx(32))]
    assert series["a lr=2"] == [(10, pytest.approx(32.1)), (100, pytest.approx(33))]


def test_no_curve_where_nothing_varies():
    assert lines(*(job([f"a={i}"], {"bm25": ("b", 0.2)}, train_share=1.0, pretrain_step=None) for i in (1, 2))) == {}


def test_a_sweep_has_its_figures_on_the_page(tmp_path):
    jobs = []
    for share in (0.1, 1.0):
        made, report = job([f"train_share={share}"], {"evaluate@a": (f"a{share}", share)}, train_share=share)
        write_report(tmp_path / f"{share}" / "report.json", report)
        jobs.append(made | {"nodes": made["nodes"] | {"report": str(tmp_path / f"{share}")}})
    compare(jobs, tmp_path)
    (curve,) = read_report(tmp_path / "report.json").along
    assert curve.series == {"a": [(10, 0.1), (100, 1.0)]}
    assert curve.marked
    page = (tmp_path / "report.html").read_text()
    assert 'id="along"' in page
    assert "RR@10 over share of the training queries (%); a ends at 1" in page


def named(places, key="bm25"):
    """What tells the node of each job: places: overrides in one string -> directory of the node."""
    jobs = [{"overrides": text.split(), "nodes": {key: place}} for text, place in places.items()]
    return [difference(jobs, job, key) for job in jobs]


def test_an_option_on_which_no_node_depends_tells_none_apart():
    """Of a sweep over k1 and rate one job is missing; BM25 does not depend on the rate, as jobs show that share one."""
    assert named({"k1=1 rate=3": "a", "k1=1 rate=5": "a", "k1=2 rate=3": "b"}) == ["k1=1", "k1=1", "k1=2"]
    assert named({"k1=1 rate=3": "a", "k1=2 rate=5": "b"}) == ["k1=1 rate=3", "k1=2 rate=5"], "nothing is known"
    assert named({"k1=1 rate=3": "a", "k1=1 rate=5": "b", "k1=2 rate=3": "c", "k1=2 rate=5": "c"}) == [
        "k1=1 rate=3", "k1=1 rate=5", "k1=2", "k1=2"
    ], "unless two would have one name"  # fmt: skip
