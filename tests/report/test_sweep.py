"""The table of a sweep: shared arms once, the others under the overrides that differ."""

import json
from dataclasses import replace
from pathlib import Path

from bmae_lightning.report.content import Arm, Curve, Diagnosis, Origin, Report, read_report, write_report
from bmae_lightning.report.sweep import compare
from bmae_lightning.runtime.table import BEST_OF_COLUMN, SUMMARY, Column, Table

RUNGS = {"evaluate@a": "a", "evaluate2@a": "a retriever2", "rerank@a": "a re-ranked",
         "evaluate_distilled@a": "a distilled"}  # fmt: skip
NAMES = {"none": "no pre-training"} | RUNGS


def node(name):
    """The key of the node that measured an arm."""
    return name if name == "bm25" or "@" in name else f"evaluate@{name}"


def job(tmp_path, number, overrides, arms, paper=None):
    """A finished job; `arms` maps the name of an arm to the directory that measured it, `paper` to published values."""
    directory = tmp_path / f"report-{number}"
    directory.mkdir()
    paper = paper or {}
    rows = [
        Arm(NAMES.get(name, name), {"RR@10": number / 10}, 5, "", paper.get(name), node=node(name)) for name in arms
    ]
    write_report(directory / "report.json", Report("x", "subtitle", rows))
    nodes = {node(name): path for name, path in arms.items()}
    return {"overrides": overrides, "nodes": nodes | {"report": str(directory)}}


def names(jobs, tmp_path):
    compare(jobs, tmp_path)
    assert (tmp_path / "report.html").is_file()
    return [arm.name for arm in read_report(tmp_path / "report.json").arms]


def test_shared_arms_stand_once(tmp_path, capsys):
    jobs = [
        job(tmp_path, i, ["+experiment=retromae", f"a={i}"], {"bm25": "b", "none": "n", "retromae": f"r{i}"})
        for i in (1, 2)
    ]
    assert names(jobs, tmp_path) == ["bm25", "no pre-training", "retromae a=1", "retromae a=2"]
    assert "retromae a=2" in capsys.readouterr().out


def test_rungs_of_the_ladder_are_rows_of_their_own(tmp_path):
    jobs = []
    for number in (1, 2):
        shared = {key: key if key == "evaluate@a" else f"{key}{number}" for key in RUNGS}
        jobs.append(job(tmp_path, number, [f"lr={number}"], shared))
        jobs[-1]["nodes"]["reranker@a"] = f"{number}"
    wanted = ["a", *(f"{rung} lr={lr}" for lr in (1, 2) for rung in list(RUNGS.values())[1:])]
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


def test_rows_of_several_collections_are_parts_of_their_own(tmp_path):
    """Though their splits and queries are called alike; a failed job stands in the parts of its collection."""
    jobs = []
    for i, corpus in enumerate(("msmarco", "nq")):
        arms = {name: str(tmp_path / f"{name}-{corpus}") for name in ("none", "retromae")}
        jobs.append(job(tmp_path, i, [f"corpus={corpus}"], arms) | {"job": {"collection": corpus}})
        path = tmp_path / f"report-{i}" / "report.json"
        rows = [replace(arm, split="dev", note=f"encodes {corpus}") for arm in read_report(path).arms]
        write_report(path, Report("x", arms=rows, tested={"dev": ["RR@10"]}))
        for place in arms.values():
            Path(place).mkdir()
            values = {f"q{n}": len(place) * n % 5 / 5 for n in range(9)}
            Path(place, "per_query.dev.json").write_text(json.dumps({"RR@10": values}))
    lost = {"overrides": ["corpus=nq", "lr=1"], "state": "failed", "reason": "r", "name": "x", "collection": "nq"}
    compare(jobs, tmp_path, failed=[lost], reference="all")
    report = read_report(tmp_path / "report.json")
    found = {split: [(arm.name, arm.note) for arm in part.arms] for split, part in report.by_split().items()}
    assert found == {
        f"{of}/dev": [(f"{name} corpus={of}", f"encodes {of}") for name in ("no pre-training", "retromae")] + more
        for of, more in {"msmarco": [], "nq": [("x corpus=nq lr=1", "r")]}.items()
    }
    assert [(row.split, row.arm, row.against) for row in report.differences] == [
        (f"{of}/dev", f"retromae corpus={of}", f"no pre-training corpus={of}") for of in ("msmarco", "nq")
    ]


def test_a_shared_arm_keeps_its_published_values(tmp_path):
    jobs = [
        job(tmp_path, 0, ["+simlm=t7_simlm"], {"none": "n", "t7_simlm": "s"}, {"t7_simlm": {"RR@10": 0.380}}),
        job(tmp_path, 1, ["+simlm=t7_bert_base"], {"none": "n"}, {"none": {"RR@10": 0.337}}),
    ]
    assert names(jobs, tmp_path) == ["no pre-training", "t7_simlm"]
    arms = read_report(tmp_path / "report.json").arms
    assert [arm.paper for arm in arms] == [{"RR@10": 0.337}, {"RR@10": 0.380}]


def looked_at(job, saved):
    """The job with a diagnosis in its report."""
    path = Path(job["nodes"]["report"]) / "report.json"
    table = Table("t", ["step 9", Column("saved", ".1f")], [["enhanced", saved], ["all words", ""]], [(1, 0, SUMMARY)])
    part = Diagnosis("retromae", [Curve("c", {"x": [(1, 1.0)]})], table)
    write_report(path, replace(read_report(path), diagnoses=[part]))
    return job


def test_diagnoses_of_all_jobs_make_one_table(tmp_path):
    jobs = [looked_at(job(tmp_path, i, [f"a={i}"], {"bm25": "b", "retromae": f"r{i}"}), i / 10) for i in (1, 2)]
    for each, directory in zip(jobs, ("p1", "p2"), strict=True):
        each["nodes"]["pretrain@retromae"] = directory
    compare(jobs, tmp_path)
    (found,) = read_report(tmp_path / "report.json").diagnoses
    assert [found.table.cells(row) for row in range(3)] == [
        ["retromae a=1: enhanced", "0.1"], ["retromae a=2: enhanced", "0.2"], ["all words", ""]
    ]  # fmt: skip
    assert found.table.marked(SUMMARY) == [2]
    assert found.curves == []
    assert "retromae a=1: enhanced" in (tmp_path / "report.html").read_text().replace("<wbr>", "")


def test_a_pre_training_that_all_jobs_share_stands_once(tmp_path):
    jobs = [looked_at(job(tmp_path, i, [f"lr={i}"], {"bm25": "b", "retromae": f"r{i}"}), 0.1) for i in (1, 2)]
    for each in jobs:
        each["nodes"]["pretrain@retromae"] = "p"
    compare(jobs, tmp_path)
    (found,) = read_report(tmp_path / "report.json").diagnoses
    assert [found.table.cells(row) for row in range(2)] == [["retromae: enhanced", "0.1"], ["all words", ""]]


def test_curves_of_a_general_pre_training_that_all_jobs_share_stand_once(tmp_path):
    jobs = [job(tmp_path, i, [f"lr={i}"], {"bm25": "b", "retromae": f"r{i}"}) for i in (1, 2)]
    curves = [Curve(f"Pre-training ({name})", {"mlm": [(1, 3.0)]}) for name in ("general", "retromae")]
    for each in jobs:
        each["nodes"] |= {"pretrain_general": "g", "pretrain@retromae": each["nodes"]["report"]}
        path = Path(each["nodes"]["report"]) / "report.json"
        write_report(path, replace(read_report(path), curves=curves))
    compare(jobs, tmp_path)
    titles = [curve.title for curve in read_report(tmp_path / "report.json").curves]
    assert titles == ["Pre-training (general)", "Pre-training (retromae) lr=1", "Pre-training (retromae) lr=2"]


def test_published_values_come_along(tmp_path, capsys):
    jobs = [job(tmp_path, i, [f"a={i}"], {"bm25": "b", "retromae": f"r{i}"}) for i in (1, 2)]
    path = Path(jobs[1]["nodes"]["report"]) / "report.json"
    part = read_report(path)
    arms = [part.arms[0], replace(part.arms[1], paper={"RR@10": 0.3553}, paper_source="Table 6")]
    write_report(path, replace(part, arms=arms))
    compare(jobs, tmp_path)
    printed = capsys.readouterr().out
    assert "  paper" in printed
    assert "0.355" in printed
    assert "retromae a=2: paper: Table 6" in printed
    assert [arm.paper for arm in read_report(tmp_path / "report.json").arms] == [None, None, {"RR@10": 0.3553}]


def on_test(report):
    return replace(report, arms=[replace(arm, split="test") for arm in report.arms], tested={"test": ["RR@10"]})


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
        write_report(path, on_test(read_report(path)))
    compare(jobs, tmp_path)
    report = read_report(tmp_path / "report.json")
    assert [(row.arm, row.against) for row in report.differences] == [
        ("retromae a=1", "bm25"), ("retromae a=2", "bm25"), ("retromae a=2", "retromae a=1")
    ]  # fmt: skip
    assert "Holm" in (tmp_path / "report.html").read_text()


def test_splits_have_tables_of_their_own(tmp_path, capsys):
    """A split that only some jobs have, as of two collections, has the arms of these jobs."""
    jobs = []
    for number, split in enumerate(["dev", "test"], 1):
        arms = {"bm25": f"b{number}", "retromae": f"r{number}"}
        jobs.append(job(tmp_path, number, [f"corpus={number}"], arms))
        path = Path(jobs[-1]["nodes"]["report"]) / "report.json"
        part = read_report(path)
        rows = [replace(arm, split=each) for each in (split, "dl19") for arm in part.arms]
        write_report(path, replace(part, arms=rows, tested={split: ["RR@10"], "dl19": ["RR@10"]}))
    compare(jobs, tmp_path, "all")
    report = read_report(tmp_path / "report.json")
    assert list(report.tested) == ["dev", "dl19", "test"]
    assert {split: [arm.name for arm in part.arms] for split, part in report.by_split().items()} == {
        "dev": ["bm25 corpus=1", "retromae corpus=1"], "test": ["bm25 corpus=2", "retromae corpus=2"],
        "dl19": ["bm25 corpus=1", "retromae corpus=1", "bm25 corpus=2", "retromae corpus=2"],
    }  # fmt: skip
    printed = capsys.readouterr().out
    assert "all, dl19" in printed
    assert {path.name for path in (tmp_path / "tables").glob("*.csv")} == {
        "measures.csv", "measures_dl19.csv", "measures_test.csv"
    }  # fmt: skip


def with_table(job, stage, rows, of_arms=True):
    """The job with a table that a stage left, for each arm a row, or with rows of its own."""
    path = Path(job["nodes"]["report"]) / "report.json"
    table = Table("Scores", ["arm", Column("accuracy", ".2f", True)], rows).with_best()
    arms = [name for name, _ in rows if of_arms]
    names = {f"{stage}@{'none' if name == 'no pre-training' else name}": name for name in arms}
    write_report(path, replace(read_report(path), tables={stage: [table]}, names=names))
    return job


def test_tables_of_stages_are_one_with_shared_arms_once(tmp_path):
    jobs = []
    for i in (1, 2):
        made = job(tmp_path, i, [f"lr={i}"], {"bm25": "b"})
        made["nodes"] |= {"glue@none": "g", "glue@retromae": f"g{i}"}
        jobs.append(with_table(made, "glue", [["no pre-training", 0.5], ["retromae", 0.5 + i / 10]]))
        path = Path(made["nodes"]["report"]) / "report.json"
        origin = Origin({"seed": 1}, f"f{i}")
        behind = [Arm(f"{arm} (glue)", {}, 0, node=f"glue@{arm}", origins=[origin]) for arm in ("none", "retromae")]
        write_report(path, replace(read_report(path), behind=behind))
        made["job"] = {"seed": 10 * i}
    compare(jobs, tmp_path)
    behind = [(arm.name, arm.origins) for arm in read_report(tmp_path / "report.json").behind]
    assert [(name, [(of.fingerprint, of.job["seed"]) for of in origins]) for name, origins in behind] == [
        ("none (glue)", [("f1", 10)]), ("retromae (glue) lr=1", [("f1", 10)]), ("retromae (glue) lr=2", [("f2", 20)]),
    ]  # fmt: skip
    (table,) = read_report(tmp_path / "report.json").tables["glue"]
    assert table.rows == (("no pre-training", 0.5), ("retromae lr=1", 0.6), ("retromae lr=2", 0.7))
    assert table.emphasis() == {(2, 1): BEST_OF_COLUMN}
    assert (tmp_path / "tables" / "glue_Scores.csv").read_text().splitlines()[2] == "retromae lr=1,0.6"
    assert (tmp_path / "tables" / "measures.tex").is_file()


def test_a_table_that_arms_share_is_told_apart_by_its_title(tmp_path):
    jobs = []
    for i in (1, 1, 2):
        made = job(tmp_path, len(jobs), [f"x={i}"], {"bm25": "b"})
        made["nodes"]["suite"] = f"s{i}"
        jobs.append(with_table(made, "suite", [["NQ", i / 10]], of_arms=False))
    compare(jobs, tmp_path)
    tables = read_report(tmp_path / "report.json").tables["suite"]
    assert [(table.title, table.rows) for table in tables] == [
        ("Scores x=1", (("NQ", 0.1),)), ("Scores x=2", (("NQ", 0.2),))
    ]  # fmt: skip
