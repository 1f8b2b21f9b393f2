"""The name of a sweep, and what happens at its end."""

import json

import pytest
from omegaconf import OmegaConf

from bmae_lightning.report.comparison import (
    compare_jobs,
    in_short,
    jobs_table,
    keep_row,
    sweep_group,
    unreadable,
)
from bmae_lightning.report.content import PRINTED, Report, read_report, write_report
from bmae_lightning.runtime.table import Table


def test_the_name_of_a_sweep_is_stable_short_and_without_slashes():
    overrides = ["+experiment=retromae,dupmae", "pretrain.lr=1e-4,2e-4"]
    assert sweep_group(overrides) == "experiment=retromae,dupmae pretrain.lr=1e-4,2e-4"
    assert sweep_group(
        [*overrides, "logger=csv", "output_dir=x", "trainer.devices=2", "stage=[prepare]"]
    ) == sweep_group(overrides)
    assert sweep_group([*overrides, "seed=1,2"]) == f"seed=1,2 {sweep_group(overrides)}"
    assert sweep_group([]) == "sweep"
    long = [sweep_group([*overrides, f"corpus.path=/some/long/directory/of/many/names/number{i}"]) for i in (1, 2)]
    assert all(len(name) == 80 and "/" not in name for name in long)
    assert long[0] != long[1]


STAGES = {
    "evaluate": {"shown_as": "", "inputs": {"retriever": "retriever1"}},
    "evaluate2": {"shown_as": "second", "inputs": {"retriever": "retriever2"}},
    "report": {"inputs": {}},
}
TABLE = {
    "title": "T 1", "unit": "percent", "digits": 1,
    "columns": ["msmarco/dev/evaluate/RR@10", "msmarco/dev/evaluate2/RR@10"], "references": [],
}  # fmt: skip


@pytest.fixture
def sweep(tmp_path):
    """Starts jobs of a printed table, of which some finish, and ends the sweep; returns its report, if there is one."""

    def run(jobs, table=TABLE, report=True):
        def config(**more):
            hydra = {
                "overrides": {"task": ["+row=x"]}, "runtime": {"choices": {"scale": "gpu", "corpus": "msmarco"}},
                "sweep": {"dir": str(tmp_path)},
            }  # fmt: skip
            node = {"name": "a", "paper_row": None, "paper_results": None, "paper_table": table}
            made = OmegaConf.create(
                STAGES
                | node
                | {"logger": {"_target_": "bmae_lightning.report.tracking.choice.make_tracking", "each": {}}}
                | {
                    "output_dir": str(tmp_path),
                    "group": "t",
                    "check": False,
                    "corpus": {"collection": "msmarco"},
                    "hydra": hydra,
                }
                | more
            )
            OmegaConf.set_struct(made, True)
            return made

        ledger = {}
        for number, (more, value) in enumerate(jobs):
            ledger[number] = {
                "state": "failed" if value is None else "done", "directory": str(number), "reason": "refused",
                "name": "a", "overrides": [f"seed={number}"], "places": {}, "code": 2 if value is None else 0,
            }  # fmt: skip
            directory = tmp_path / str(number)
            directory.mkdir()
            job = config(**more)
            OmegaConf.update(job, "hydra.runtime.output_dir", str(directory), force_add=True)
            keep_row(job)
            if value is not None:
                (directory / "metrics.json").write_text(json.dumps({"dev": {"mean": {"RR@10": value}, "queries": 9}}))
                write_report(directory / "report.json", Report("x", tables={PRINTED: [Table("p", [""], [])]}))
                nodes = {"evaluate@a": str(directory)} | ({"report": str(directory)} if report else {})
                (directory / "result.json").write_text(json.dumps({"overrides": [], "nodes": nodes}))
        compare_jobs(tmp_path, config(), ledger, "python -m bmae_lightning -m +row=x")
        path = tmp_path / "report.json"
        return read_report(path) if path.is_file() else None

    return run


def printed(label, value):
    row = {"label": label, "system": label, "from": None}
    return {"paper_row": row, "paper_results": {"msmarco/dev": {"evaluate": {"RR@10": value}}}}


def test_the_sweep_of_a_printed_table_shows_it_first_whatever_becomes_of_its_jobs(sweep, tmp_path, capsys):
    report = sweep([(printed("A", 0.3), 0.25), (printed("B", 0.4), None)])
    (table,) = report.printed
    assert [column.key for column in table.columns] == [
        "row", "MS MARCO dev, retriever1/RR@10", "MS MARCO dev, second/RR@10", "verdict"
    ]  # fmt: skip
    assert [table.cells(row)[:2] for row in range(4)] == [
        ["A", "25.0"], ["paper", "30.0"], ["B", "failed"], ["paper", "40.0"],
    ]  # fmt: skip
    assert [row[-1] for row in report.verdicts[0].rows] == ["not comparable: scale=gpu", "failed"]
    assert (tmp_path / "tables" / "T_1_ours_against_the_paper_s_percent.md").is_file()
    assert report.tables == {}, "what each job has as printed is in the table"
    assert (tmp_path / "tables" / "T_1_percent.csv").is_file()
    assert capsys.readouterr().out.startswith("T 1 (percent)\n")
    assert 'id="printed"' in (tmp_path / "report.html").read_text()


def test_a_table_of_refused_rows_is_still_shown(sweep):
    (table,) = sweep([(printed("A", 0.3), None)]).printed
    assert table.cells(1) == ["paper", "30.0", "-", ""]


def test_without_reports_there_are_only_the_jobs(sweep, tmp_path, capsys):
    report = sweep([(printed("A", 0.3), 0.2), (printed("B", 0.3), 0.2)], report=False)
    assert (report.printed, report.arms, report.tables) == ([], [], {})
    assert [row[:3] for row in report.jobs.rows] == [("0", "done", "seed=0"), ("1", "done", "seed=1")]
    assert [path.name for path in sorted((tmp_path / "tables").iterdir())] == ["jobs.csv", "jobs.md", "jobs.tex"]
    assert capsys.readouterr().out.endswith("report.html\n2 jobs: 2 done\n")


def test_a_wrong_table_is_left_to_the_jobs(sweep):
    assert sweep([(printed("A", 0.3), None)], TABLE | {"unit": "percents"}).printed == []


def test_other_sweeps_keep_no_rows(sweep, tmp_path):
    assert sweep([(printed("A", 0.3), None)], None).printed == []
    assert not list(tmp_path.glob("*/row.json"))


def test_a_table_says_of_every_job_what_became_of_it():
    jobs = {
        0: {"state": "done", "overrides": ["a=1", "x=2"], "seconds": 1.5, "code": 0, "reason": None},
        1: {"state": "failed", "overrides": ["a=1", "x=3"], "code": 2, "reason": "x must be even " * 20},
        2: {"state": "not started", "overrides": ["a=1", "x=4"]},
    }
    table = jobs_table(jobs)
    assert table.cells(0) == ["0", "done", "x=2", "1.5", "0", ""]
    assert table.cells(1)[:5] == ["1", "failed", "x=3", "-", "2"]
    assert table.cells(1)[5].endswith("[...]")
    assert table.cells(2) == ["2", "not started", "x=4", "-", "-", ""]
    assert in_short(jobs) == "3 jobs: 1 done, 1 failed, 1 not started"


def test_a_report_that_cannot_be_read_is_named_with_its_job(tmp_path):
    jobs = {}
    for number, text in enumerate(["", '{"format": 1}']):
        place = tmp_path / "store" / f"report-{number}"
        place.mkdir(parents=True)
        write_report(place / "report.json", Report("a"))
        if text:
            (place / "report.json").write_text(text)
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "result.json").write_text(json.dumps({"nodes": {"report": str(place)}}))
        jobs[number] = {"state": "done", "directory": str(number)}
    jobs[2] = {"state": "failed", "directory": "2"}
    (reason,) = unreadable(tmp_path, jobs).values()
    assert f"{tmp_path / 'store' / 'report-1' / 'report.json'}: not a report of format" in reason
    assert f"delete {tmp_path / 'store' / 'report-1'} and run the same command again" in reason
