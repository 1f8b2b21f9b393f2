"""The tables of the papers in experiments/: what they cover, that they start, that every row trains, that a sweep is one thing."""

import dataclasses
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bmae_lightning.corpus.glue import TASKS

ROOT = Path(__file__).parent.parent
EXPERIMENTS = ROOT / "experiments"
COVERAGE = yaml.safe_load((EXPERIMENTS / "coverage.yaml").read_text(encoding="utf-8"))
TABLES = sorted(path.stem for path in (EXPERIMENTS / "table").glob("*.yaml"))
ROWS = sorted(path for path in EXPERIMENTS.glob("*/*.yaml") if path.parent.name != "table")
PRINTED = {"retromae": 6, "dupmae": 3, "simlm": 14, "master": 9, "cdmae": 6}
"""How many tables each paper has."""
ABOUT_PRETRAINING = {"retromae": {6}, "dupmae": {3}, "simlm": {7, 8, 12}, "master": {6, 7, 8}, "cdmae": {4, 5}}
OURS = {"cdmae_mask": ["mask_importance", "mask_random"]}
"""Tables that no paper has."""
TRAINED: set[str] = set()
"""Fingerprints of pre-trainings that have taken their two steps: some rows stand in several tables."""

_spec = importlib.util.spec_from_file_location("two_steps", Path(__file__).parent / "two_steps.py")
steps = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(steps)


def covered() -> dict[str, tuple[str, dict]]:
    """table -> (paper, what coverage.yaml says of it)."""
    found = {}
    for paper, tables in COVERAGE.items():
        found |= {entry["table"]: (paper, entry) for entry in tables.values() if entry["pretraining"]}
    return found


def swept(table: str) -> tuple[str, list[str]]:
    """The folder and the rows that a table runs over."""
    params = yaml.safe_load((EXPERIMENTS / "table" / f"{table}.yaml").read_text(encoding="utf-8"))["hydra"]["sweeper"]
    ((group, rows),) = params["params"].items()
    return group.removeprefix("+"), [row.strip() for row in rows.split(",")]


@dataclasses.dataclass
class Job:
    """What a job of Hydra was about to run: its planned nodes, its W&B group, the arm's name and the node of its pre-training."""

    nodes: dict
    group: str

    @property
    def report(self) -> dict:
        return self.nodes["report"].config

    @property
    def name(self) -> str:
        return self.report["title"]

    @property
    def pretrain(self):
        return self.nodes.get(f"pretrain@{self.name}")


@pytest.fixture
def launch(tmp_path, collection, monkeypatch):
    """Start the command as a user does; every job that Hydra starts ends when its stages are planned, and comes back."""

    def start(*arguments: str) -> list[Job]:
        from hydra.core.global_hydra import GlobalHydra
        from hydra.plugins.sweeper import Sweeper

        import bmae_lightning.__main__ as program
        import bmae_lightning.experiment as experiment
        from bmae_lightning.errors import BadInput

        jobs = []

        class Pipeline:
            def __init__(self, nodes, selected, group, *_):
                jobs.append(Job(nodes, group))

            def run(self):
                raise BadInput("")

        monkeypatch.setattr(experiment, "Pipeline", Pipeline)
        monkeypatch.setattr(Sweeper, "validate_batch_is_legal", lambda *_: None)  # composes every job a second time
        corpus = ["corpus=beir", f"corpus.path={collection}"]
        monkeypatch.setattr(sys, "argv", ["bmae_lightning", "-cd", str(EXPERIMENTS), *arguments, *corpus])
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
        monkeypatch.setattr(program, "_exit_codes", [])
        monkeypatch.chdir(tmp_path)
        GlobalHydra.instance().clear()
        assert program.main() == 2
        assert program._exit_codes == [2] * len(jobs)
        return jobs

    return start


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, collection):
    return steps.make_inputs(tmp_path_factory.mktemp("inputs"), collection)


def test_every_table_of_the_papers_is_sorted():
    assert set(COVERAGE) == set(PRINTED)
    for paper, number in PRINTED.items():
        assert list(COVERAGE[paper]) == [f"table_{i}" for i in range(1, number + 1)]
        about = {int(name.removeprefix("table_")) for name, entry in COVERAGE[paper].items() if entry["pretraining"]}
        assert about == ABOUT_PRETRAINING[paper]


def test_every_table_about_pretraining_has_its_yaml_and_rows():
    assert set(TABLES) == set(covered()) | set(OURS)
    used = set()
    for table in TABLES:
        folder, rows = swept(table)
        paper, wanted = (
            (covered()[table][0], list(covered()[table][1]["rows"])) if table in covered() else (folder, OURS[table])
        )
        assert (folder, rows) == (paper, wanted)
        used |= {EXPERIMENTS / folder / f"{row}.yaml" for row in rows}
    assert used == set(ROWS)


def test_the_readme_lists_what_there_is():
    text = (EXPERIMENTS / "README.md").read_text(encoding="utf-8")
    listed = {name: int(rows) for name, rows in re.findall(r"^\| `(\w+)` \| (\d+) \|", text, re.MULTILINE)}
    assert listed == {table: len(swept(table)[1]) for table in TABLES}
    assert set(re.findall(r"\+table=(\w+)|NAME=(\w+_\d+)", text)) <= {(table, "") for table in TABLES} | {
        ("", t) for t in TABLES
    }
    for folder, rows in re.findall(r"\+(\w+)=(t\w[\w,]*)", text):
        assert all((EXPERIMENTS / folder / f"{row}.yaml").is_file() for row in rows.split(","))


def printed(entry: dict) -> dict[str, float | None]:
    """What a row of a table carries."""
    return entry["glue"] if "glue" in entry else entry["msmarco_dev"]


@pytest.mark.parametrize("path", ROWS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_row_says_what_it_repeats(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 15
    assert text.splitlines()[0] == "# @package _global_"
    row = yaml.safe_load(text)
    assert row["defaults"][0].keys() == {"/experiment"}
    assert row["name"] in (f"{path.parent.name}_{path.stem}", "none")
    entry, number = None, None
    for name, table in COVERAGE[path.parent.name].items():
        if path.stem in table.get("rows", {}):
            entry, number = table["rows"][path.stem], name.removeprefix("table_")
    if entry is None:
        assert path.stem in OURS["cdmae_mask"]
        assert "paper_results" not in row
        return
    first = text.splitlines()[1]
    assert re.search(rf" Table {number}\b", first), first
    assert f'"{entry["printed"]}"' in first
    assert f" Table {number}," in row["paper_source"]
    assert row["paper_results"] == {name: value for name, value in printed(entry).items() if value is not None}
    assert all(0 < value < 1 for value in row["paper_results"].values())


@pytest.mark.parametrize("table", TABLES)
def test_a_table_starts_one_job_per_row_and_every_row_takes_two_steps(table, launch, inputs, tmp_path, monkeypatch):
    folder, rows = swept(table)
    jobs = launch(f"+table={table}", "scale=laptop", "seed=1")
    assert [job.name for job in jobs] == [row_name(folder, row) for row in rows]
    assert {job.group for job in jobs} == {table}
    for job in jobs:
        glue = job.report["paper_stage"] == "glue"
        assert set(job.report["paper_results"] or {}) <= set(TASKS if glue else job.report["measures"])
        assert (job.pretrain is None) == (job.name == "none")
        if job.pretrain:
            assert job.pretrain.config["seed"] == 1
            if job.pretrain.hash not in TRAINED:
                steps.take_two_steps(job.pretrain.config, job.pretrain.inputs, inputs, tmp_path, monkeypatch)
            TRAINED.add(job.pretrain.hash)


@pytest.mark.parametrize("scale", ["gpu", "paper"])
@pytest.mark.parametrize("table", TABLES)
def test_a_table_starts_at_every_scale(table, scale, launch):
    """At the paper's scale two rows are one pre-training only where the paper prints one result for them."""
    folder, rows = swept(table)
    jobs = launch(f"+table={table}", f"scale={scale}")
    assert [job.name for job in jobs] == [row_name(folder, row) for row in rows]
    for job in (job for job in jobs if job.pretrain):
        config = job.pretrain.config
        assert (config["steps"] is None) != (config["epochs"] is None)
        assert config["workers"] == 4
        for other in (other for other in jobs if other.pretrain and scale == "paper"):
            same = other.pretrain.hash == job.pretrain.hash
            assert not same or other.report["paper_results"] == job.report["paper_results"], (job.name, other.name)


def row_name(folder: str, row: str) -> str:
    """The name of the arm that a row makes."""
    return yaml.safe_load((EXPERIMENTS / folder / f"{row}.yaml").read_text(encoding="utf-8"))["name"]


def test_a_sweep_is_one_group_whatever_it_runs_over(launch):
    jobs = launch("-m", "+experiment=retromae,dupmae", "decoders.enhanced.mask.rate=0.3,0.5")
    assert len(jobs) == 4
    (group,) = {job.group for job in jobs}
    assert group.startswith("experiment=retromae,dupmae decoders.enhanced.mask.rate=0.3,0.5")
    named = launch("-m", "+experiment=retromae,dupmae", "group=mine", "decoders.enhanced.mask.rate=0.3")
    assert {job.group for job in named} == {"mine"}
    (single,) = launch("+experiment=retromae", "decoders.enhanced.mask.rate=0.3")
    assert single.group == "retromae"
    assert {key: node.hash for key, node in single.nodes.items()} == {
        key: node.hash for key, node in jobs[0].nodes.items()
    }


def test_some_rows_of_a_table_run_for_real(tmp_path, collection):
    """One comparison table with the paper's numbers below ours, and one W&B group."""
    output = steps.tools.command(
        "-cd", str(EXPERIMENTS), "+table=retromae_6", "+retromae=t6_enhanced,t6_enhanced_p50,t6_encoder_p15",
        *steps.tools.TINY[1:], f"corpus.path={collection}", "pretrain.steps=2", "retriever1.steps=2", cwd=tmp_path,
    )  # fmt: skip
    assert output.count("pretrain (retromae_t6_enhanced): done in") == 1
    assert "pretrain (retromae_t6_enhanced_p50): skipped, done in" in output
    table = output[output.index("comparison: retromae_6") :]
    rows = [line.split()[0] for line in table.splitlines() if re.search(r" [\d-]\.?\d* .*\d$", line)]
    names = ["retromae_t6_enhanced", "retromae_t6_enhanced_p50", "retromae_t6_encoder_p15"]
    assert [row for row in rows if row.startswith("retromae")] == names
    assert len(re.findall(r"^  paper +0\.\d+ +- +- +0\.\d+", table, re.MULTILINE)) == 3
    assert re.search(r"^  paper +0\.350", table, re.MULTILINE)
    assert re.search(r"^  paper +0\.355", table, re.MULTILINE)
    assert "RetroMAE Table 6, MS MARCO dev" in table
    assert len(re.findall(r"^bm25 ", table, re.MULTILINE)) == 1
    runs = list((tmp_path / "outputs" / "wandb").glob("offline-run-*/run-*.wandb"))
    assert len(runs) >= 9
    assert all(b"retromae_6" in run.read_bytes() for run in runs)
    manifests = (tmp_path / "outputs" / "store").glob("*/manifest.json")
    assert {json.loads(path.read_text())["context"]["group"] for path in manifests} == {"retromae_6"}


def test_a_table_without_its_directory_is_refused(tmp_path):
    output = steps.tools.command("+table=retromae_6", cwd=tmp_path, code=2)
    assert output.splitlines()[-1].startswith("error: +table=retromae_6: there is no group 'table'")
    assert "-cd experiments" in output
    output = steps.tools.command("-cd", str(EXPERIMENTS), "+table=retromae_7", cwd=tmp_path, code=2)
    assert output.splitlines()[-1] == "error: table=retromae_7: there is no such option; did you mean 'retromae_6'?"


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_table():
    def make(*arguments: str) -> subprocess.CompletedProcess:
        outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # of `make test`
        return subprocess.run(
            ["make", "--dry-run", "--assume-old=.venv/installed", "table", *arguments], cwd=ROOT, env=outside,
            capture_output=True, text=True, check=False,
        )  # fmt: skip

    line = make("NAME=retromae_6", "ARGS=scale=laptop seed=1").stdout.splitlines()[-1]
    assert line.endswith("-m bmae_lightning -cd experiments +table=retromae_6 scale=laptop seed=1")
