"""The table of a sweep: shared arms once, the others under the overrides that differ."""

from bmae_lightning.report.comparison import compare
from bmae_lightning.report.content import Arm, Report
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
