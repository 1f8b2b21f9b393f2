"""The table of a sweep: shared arms once, the others under the overrides that differ."""

from dataclasses import replace
from pathlib import Path

from bmae_lightning.report.comparison import compare
from bmae_lightning.report.content import Arm, Curve, Diagnosis, Report
from bmae_lightning.report.machine import read_json, write_json


def job(tmp_path, number, overrides, arms):
    """A finished job; `arms` maps the name of an arm to the directory that measured it."""
    directory = tmp_path / f"report-{number}"
    directory.mkdir()
    rows = [Arm({"none": "no pre-training"}.get(name, name), {"RR@10": number / 10}, 5) for name in arms]
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


def test_an_arm_that_differs_is_not_called_shared(tmp_path):
    jobs = [job(tmp_path, i, [f"lr={i}"], {"bm25": "b", "none": f"n{i}"}) for i in (1, 2)]
    assert names(jobs, tmp_path) == ["bm25", "no pre-training lr=1", "no pre-training lr=2"]


def test_experiments_go_by_their_own_names(tmp_path):
    jobs = [job(tmp_path, i, [f"+experiment={n}"], {"bm25": "b", n: n}) for i, n in enumerate(["retromae", "other"])]
    assert names(jobs, tmp_path) == ["bm25", "retromae", "other"]


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
