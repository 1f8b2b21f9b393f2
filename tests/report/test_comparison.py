"""The table of a sweep: shared arms once, the others under the overrides that differ; the name of the whole sweep."""

import json
from dataclasses import replace
from pathlib import Path

from bmae_lightning.report.comparison import compare, sweep_group
from bmae_lightning.report.content import Arm, Curve, Diagnosis, Report
from bmae_lightning.report.machine import read_json, write_json


def job(tmp_path, number, overrides, arms, paper=None):
    """A finished job; `arms` maps the name of an arm to the directory that measured it, `paper` to published values."""
    directory = tmp_path / f"report-{number}"
    directory.mkdir()
    paper = paper or {}
    rows = [
        Arm({"none": "no pre-training"}.get(name, name), {"RR@10": number / 10}, 5, "", paper.get(name))
        for name in arms
    ]
    write_json(directory / "report.json", Report("x", "subtitle", rows, [], [], {}, []))
    nodes = {name if name == "bm25" else f"evaluate@{name}": path for name, path in arms.items()}
    return {"overrides": overrides, "nodes": nodes | {"report": str(directory)}}


def names(jobs, tmp_path):
    compare(jobs, tmp_path)
    assert (tmp_path / "report.html").is_file()
    return [arm.name for arm in read_json(tmp_path / "report.json").arms]


def test_shared_arms_stand_once(tmp_path, capsys):
    jobs = [
        job(tmp_path, i, ["+experiment=retromae", f"a={i}"], {"bm25": "b", "none": "n", "retromae": f"r{i}"})
        for i in (1, 2)
    ]
    assert names(jobs, tmp_path) == ["bm25", "no pre-training", "retromae a=1", "retromae a=2"]
    assert "retromae a=2" in capsys.readouterr().out


def test_rungs_of_the_ladder_are_rows_of_their_own(tmp_path):
    rungs = {"evaluate@a": "a", "evaluate2@a": "a retriever2", "rerank@a": "a re-ranked",
             "evaluate_distilled@a": "a distilled"}  # fmt: skip
    jobs = []
    for number in (1, 2):
        jobs.append(job(tmp_path, number, [f"lr={number}"], {name: name for name in rungs.values()}))
        shared = {key: key if key == "evaluate@a" else f"{key}{number}" for key in rungs}
        jobs[-1]["nodes"] = {"report": jobs[-1]["nodes"]["report"], "reranker@a": f"{number}"} | shared
    wanted = ["a", *(f"{rung} lr={lr}" for lr in (1, 2) for rung in list(rungs.values())[1:])]
    assert names(jobs, tmp_path) == wanted


def test_an_arm_that_differs_is_not_called_shared(tmp_path):
    jobs = [job(tmp_path, i, [f"lr={i}"], {"bm25": "b", "none": f"n{i}"}) for i in (1, 2)]
    assert names(jobs, tmp_path) == ["bm25", "no pre-training lr=1", "no pre-training lr=2"]


def test_experiments_go_by_their_own_names(tmp_path):
    jobs = [job(tmp_path, i, [f"+experiment={n}"], {"bm25": "b", n: n}) for i, n in enumerate(["retromae", "other"])]
    assert names(jobs, tmp_path) == ["bm25", "retromae", "other"]


def test_names_are_followed_only_by_what_tells_namesakes_apart(tmp_path):
    jobs = [
        job(tmp_path, i, [f"+experiment={name}", f"lr={lr}"], {"bm25": "b", "none": f"n{lr}", name: f"{name}{lr}"})
        for i, (name, lr) in enumerate([("retromae", 1), ("retromae", 2), ("other", 1)])
    ]
    assert names(jobs, tmp_path) == [
        "bm25", "no pre-training lr=1", "retromae lr=1", "no pre-training lr=2", "retromae lr=2", "other"
    ]  # fmt: skip


def test_two_rows_that_are_one_computation_are_both_shown(tmp_path):
    jobs = [job(tmp_path, i, [f"+retromae={n}"], {"bm25": "b", n: "same"}) for i, n in enumerate(["t6_a", "t6_b"])]
    assert names(jobs, tmp_path) == ["bm25", "t6_a", "t6_b"]


def test_a_shared_arm_keeps_its_published_values(tmp_path):
    jobs = [
        job(tmp_path, 0, ["+simlm=t7_simlm"], {"none": "n", "t7_simlm": "s"}, {"t7_simlm": {"RR@10": 0.380}}),
        job(tmp_path, 1, ["+simlm=t7_bert_base"], {"none": "n"}, {"none": {"RR@10": 0.337}}),
    ]
    assert names(jobs, tmp_path) == ["no pre-training", "t7_simlm"]
    arms = read_json(tmp_path / "report.json").arms
    assert [arm.paper for arm in arms] == [{"RR@10": 0.337}, {"RR@10": 0.380}]


def test_the_name_of_a_sweep_is_stable_short_and_without_slashes():
    overrides = ["+experiment=retromae,dupmae", "pretrain.lr=1e-4,2e-4"]
    assert sweep_group(overrides) == "experiment=retromae,dupmae pretrain.lr=1e-4,2e-4"
    assert sweep_group(
        [*overrides, "logger=csv", "output_dir=x", "trainer.devices=2", "stage=[prepare]"]
    ) == sweep_group(overrides)
    assert sweep_group([]) == "sweep"
    long = [sweep_group([*overrides, f"corpus.path=/some/long/directory/of/many/names/number{i}"]) for i in (1, 2)]
    assert all(len(name) == 80 and "/" not in name for name in long)
    assert long[0] != long[1]


def looked_at(job, saved):
    """The job with a diagnosis in its report."""
    path = Path(job["nodes"]["report"]) / "report.json"
    part = Diagnosis(
        "retromae", "step 9", [Curve("c", {"x": [(1, 1.0)]})], ["saved"], [["enhanced", saved]], [["all words", ""]]
    )
    write_json(path, replace(read_json(path), diagnoses=[part]))
    return job


def test_diagnoses_of_all_jobs_make_one_table(tmp_path):
    jobs = [looked_at(job(tmp_path, i, [f"a={i}"], {"bm25": "b", "retromae": f"r{i}"}), str(i)) for i in (1, 2)]
    for each, directory in zip(jobs, ("p1", "p2"), strict=True):
        each["nodes"]["pretrain@retromae"] = directory
    compare(jobs, tmp_path)
    (found,) = read_json(tmp_path / "report.json").diagnoses
    assert found.rows == [["retromae a=1: enhanced", "1"], ["retromae a=2: enhanced", "2"]]
    assert found.texts == [["all words", ""]]
    assert found.curves == []
    assert "retromae a=1: enhanced" in (tmp_path / "report.html").read_text().replace("<wbr>", "")


def test_a_pre_training_that_all_jobs_share_stands_once(tmp_path):
    jobs = [looked_at(job(tmp_path, i, [f"lr={i}"], {"bm25": "b", "retromae": f"r{i}"}), "0.1") for i in (1, 2)]
    for each in jobs:
        each["nodes"]["pretrain@retromae"] = "p"
    compare(jobs, tmp_path)
    (found,) = read_json(tmp_path / "report.json").diagnoses
    assert found.rows == [["retromae: enhanced", "0.1"]]


def test_published_values_come_along(tmp_path, capsys):
    jobs = [job(tmp_path, i, [f"a={i}"], {"bm25": "b", "retromae": f"r{i}"}) for i in (1, 2)]
    path = Path(jobs[1]["nodes"]["report"]) / "report.json"
    part = read_json(path)
    arms = [part.arms[0], replace(part.arms[1], paper={"RR@10": 0.3553}, paper_source="Table 6")]
    write_json(path, replace(part, arms=arms))
    compare(jobs, tmp_path)
    printed = capsys.readouterr().out
    assert "  paper" in printed
    assert "0.355" in printed
    assert "retromae a=2: paper: Table 6" in printed
    assert [arm.paper for arm in read_json(tmp_path / "report.json").arms] == [None, None, {"RR@10": 0.3553}]


def test_arms_of_different_jobs_are_tested_against_each_other(tmp_path):
    jobs = []
    for number in (1, 2):
        for name in ("b", f"r{number}"):
            (tmp_path / name).mkdir(exist_ok=True)
            values = {f"q{i}": (i * number + len(name)) % 5 / 4 for i in range(20)}
            (tmp_path / name / "per_query.test.json").write_text(json.dumps({"RR@10": values}))
        arms = {"bm25": str(tmp_path / "b"), "retromae": str(tmp_path / f"r{number}")}
        jobs.append(job(tmp_path, number, [f"a={number}"], arms))
        path = Path(jobs[-1]["nodes"]["report"]) / "report.json"
        write_json(path, replace(read_json(path), split="test", tested=["RR@10"]))
    compare(jobs, tmp_path)
    report = read_json(tmp_path / "report.json")
    assert [(row.arm, row.against) for row in report.differences] == [
        ("retromae a=1", "bm25"), ("retromae a=2", "bm25"), ("retromae a=2", "retromae a=1")
    ]  # fmt: skip
    assert "Holm" in (tmp_path / "report.html").read_text()
