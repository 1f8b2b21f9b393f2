"""The name of a sweep, and what happens at its end."""

import json

import pytest
from omegaconf import OmegaConf

from bmae_lightning.report.comparison import Comparison, sweep_group
from bmae_lightning.report.content import PRINTED, Report, read_report, write_report
from bmae_lightning.runtime.table import Table


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
            node = {"name": "a", "paper_row": None, "paper_results": None, "requires": None, "paper_table": table}
            made = OmegaConf.create(
                STAGES
                | node
                | {"group": "t", "check": False, "corpus": {"collection": "msmarco"}, "hydra": hydra}
                | more
            )
            OmegaConf.set_struct(made, True)
            return made

        for number, (more, value) in enumerate(jobs):
            directory = tmp_path / str(number)
            directory.mkdir()
            job = config(**more)
            OmegaConf.update(job, "hydra.runtime.output_dir", str(directory), force_add=True)
            callback.on_job_start(job)
            if value is not None:
                (directory / "metrics.json").write_text(json.dumps({"dev": {"mean": {"RR@10": value}, "queries": 9}}))
                write_report(directory / "report.json", Report("x", tables={PRINTED: [Table("p", [""], [])]}))
                nodes = {"evaluate@a": str(directory)} | ({"report": str(directory)} if report else {})
                (directory / "result.json").write_text(json.dumps({"overrides": [], "nodes": nodes}))
        callback.group = "t"
        callback.on_multirun_end(config())
        path = tmp_path / "report.json"
        return read_report(path) if path.is_file() else None

    callback = Comparison()
    return run


def printed(label, value):
    row = {"label": label, "system": label, "from": None}
    return {"paper_row": row, "paper_results": {"msmarco/dev": {"evaluate": {"RR@10": value}}}}


def test_the_sweep_of_a_printed_table_shows_it_first_whatever_becomes_of_its_jobs(sweep, tmp_path, capsys):
    jobs = [(printed("A", 0.3), 0.25), (printed("B", 0.4), None), (printed("C", 0.5) | {"requires": "backbone"}, None)]
    report = sweep(jobs)
    (table,) = report.printed
    assert [column.key for column in table.columns] == [
        "row", "MS MARCO dev, retriever1/RR@10", "MS MARCO dev, second/RR@10", "verdict"
    ]  # fmt: skip
    assert [table.cells(row)[:2] for row in range(4)] == [
        ["A", "25.0"], ["paper", "30.0"], ["B", "not run"], ["paper", "40.0"],
    ]  # fmt: skip
    assert table.cells(5)[:2] == ["C (reference)", "50.0"]
    assert [row[-1] for row in report.verdicts[0].rows] == ["not comparable: scale=gpu", "not run"]
    assert (tmp_path / "tables" / "T_1_ours_against_the_paper_s_percent.md").is_file()
    assert report.tables == {}, "what each job has as printed is in the table"
    assert (tmp_path / "tables" / "T_1_percent.csv").is_file()
    assert capsys.readouterr().out.startswith("T 1 (percent)\n")
    assert 'id="printed"' in (tmp_path / "report.html").read_text()


def test_a_table_of_refused_rows_is_still_shown(sweep):
    (table,) = sweep([(printed("A", 0.3), None)]).printed
    assert table.cells(1) == ["paper", "30.0", "-", ""]


def test_without_reports_there_is_none(sweep):
    assert sweep([(printed("A", 0.3), 0.2), (printed("B", 0.3), 0.2)], report=False) is None


def test_a_wrong_table_is_left_to_the_jobs(sweep):
    assert sweep([(printed("A", 0.3), None)], TABLE | {"unit": "percents"}) is None


def test_other_sweeps_keep_nothing(sweep, tmp_path):
    assert sweep([(printed("A", 0.3), None)], None) is None
    assert not list(tmp_path.glob("*/row.json"))
