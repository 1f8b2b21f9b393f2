"""The tables of the papers in experiments/: they cover the papers, start, every row trains, a sweep is one thing."""

import dataclasses
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support import quick_hydra
from support import two_steps as steps
from support.paths import ROOT, SHARED

from bmae_lightning.evaluation.glue.data import TASKS
from bmae_lightning.report.content import row_name as shown_name
from bmae_lightning.runtime.configuration import build
from bmae_lightning.stage.report import check_paper

EXPERIMENTS = ROOT / "experiments"
PAPER_RESULTS = SHARED / "paper_results.yaml"
COVERAGE = yaml.safe_load((EXPERIMENTS / "coverage.yaml").read_text(encoding="utf-8"))
TABLES = sorted(path.stem for path in (EXPERIMENTS / "table").glob("*.yaml"))
ROWS = sorted(path for path in EXPERIMENTS.glob("*/*.yaml") if path.parent.name != "table")
PRINTED = {"retromae": 6, "dupmae": 3, "simlm": 14, "master": 9, "cdmae": 6}
"""How many tables each paper has."""
ABOUT_PRETRAINING = {"retromae": {6}, "dupmae": {3}, "simlm": {7, 8, 12}, "master": {6, 7, 8}, "cdmae": {4, 5}}
ABOUT_FINE_TUNING = {"retromae": {2, 3, 4, 5}, "dupmae": {3}, "simlm": {5, 6, 10}, "master": {5}, "cdmae": {2}}
FIGURES = {"cdmae": ["figure_4"]}
OURS = {"cdmae_mask": ["mask_importance", "mask_random"]}
"""Tables that no paper has."""
TRAINED: set[str] = set()
"""Fingerprints of pre-trainings that have taken their two steps: some rows stand in several tables."""
SCALES = ("laptop", "gpu", "paper")


def covered() -> dict[str, tuple[str, dict]]:
    """table -> (paper, what coverage.yaml says of it)."""
    found = {}
    for paper, tables in COVERAGE.items():
        found |= {entry["table"]: (paper, entry) for entry in tables.values() if "table" in entry}
    return found


def number(entry: str) -> int:
    """Of the table or figure that an entry of coverage.yaml is about, or about a part of."""
    return int(entry.split("_")[1])


def swept(table: str) -> tuple[str, list[str]]:
    """The folder and the rows that a table runs over."""
    params = yaml.safe_load((EXPERIMENTS / "table" / f"{table}.yaml").read_text(encoding="utf-8"))["hydra"]["sweeper"]
    ((group, rows),) = params["params"].items()
    return group.removeprefix("+"), [row.strip() for row in rows.split(",")]


@dataclasses.dataclass
class Job:
    """What a job of Hydra was about to run: planned nodes, W&B group, the arm's name, the node of its pre-training."""

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

    @property
    def published(self) -> dict[str, dict[str, float]]:
        """The paper's values by stage."""
        return check_paper(self.report["paper_results"] or {}, self.report["shown_as"])


@pytest.fixture
def command_here(tmp_path, collection, monkeypatch):
    """Start the command as a user does, in this process, with another pipeline; returns the codes of its jobs."""

    def start(pipeline: type, *arguments: str) -> list[int]:
        from hydra.core.global_hydra import GlobalHydra
        from hydra.plugins.sweeper import Sweeper

        import bmae_lightning.__main__ as program
        import bmae_lightning.command.experiment as experiment

        quick_hydra.quicken(monkeypatch)
        monkeypatch.setattr(experiment, "Pipeline", pipeline)
        monkeypatch.setattr(Sweeper, "validate_batch_is_legal", lambda *_: None)  # composes every job a second time
        corpus = ["corpus=beir", f"corpus.path={collection}"]
        monkeypatch.setattr(sys, "argv", ["bmae_lightning", "-cd", str(EXPERIMENTS), *arguments, *corpus])
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
        monkeypatch.setattr(program, "_exit_codes", [])
        monkeypatch.chdir(tmp_path)
        GlobalHydra.instance().clear()
        program.main()
        return program._exit_codes

    return start


@pytest.fixture
def launch(command_here):
    """Every job that the command starts ends when its stages are planned, and comes back."""

    def start(*arguments: str) -> list[Job]:
        from bmae_lightning.runtime.errors import BadInput

        jobs = []

        class Pipeline:
            def __init__(self, nodes, group, *_):
                jobs.append(Job(nodes, group))

            def run(self):
                raise BadInput("")

        assert command_here(Pipeline, *arguments) == [2] * len(jobs)
        return jobs

    return start


@pytest.fixture
def launch_table(launch):
    """One job per row at each scale, in the order of the rows; the jobs by scale."""

    def start(table: str, *scales: str) -> dict[str, list[Job]]:
        folder, rows = swept(table)
        jobs = launch(f"+table={table}", f"scale={','.join(scales)}", "seed=1")
        assert [job.name for job in jobs] == [row_name(folder, row) for row in rows for _ in scales]
        assert {job.group for job in jobs} == {table}
        for job in jobs:
            for stage, values in job.published.items():
                measures = TASKS if stage == "glue" else [*job.report["measures"], "answer_R@20", "answer_R@100"]
                assert set(values) <= set(measures)  # those of answers come with corpus=nq
            assert (job.pretrain is None) == (job.name == "none")
            if job.pretrain:
                assert job.pretrain.config["seed"] == 1
                assert (job.pretrain.config["steps"] is None) != (job.pretrain.config["epochs"] is None)
        return {scale: jobs[place :: len(scales)] for place, scale in enumerate(scales)}

    return start


def check_that_what_differs_in_print_is_computed_differently(jobs: list[Job]) -> None:
    """At the paper's scale two rows share a judged stage only where the paper prints one result for both."""
    for job, other in itertools.combinations(jobs, 2):
        for stage in set(job.published) & set(other.published):
            nodes = [each.nodes.get(f"{stage}@{each.name}") for each in (job, other)]
            if None not in nodes and nodes[0].hash == nodes[1].hash:
                assert job.published[stage] == other.published[stage], (job.name, other.name)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, collection):
    return steps.make_inputs(tmp_path_factory.mktemp("inputs"), collection)


def test_every_table_of_the_papers_is_sorted():
    assert set(COVERAGE) == set(PRINTED)
    for paper, tables in PRINTED.items():
        entries = {name: entry for name, entry in COVERAGE[paper].items() if name.startswith("table_")}
        assert [name for name in COVERAGE[paper] if name not in entries] == FIGURES.get(paper, [])
        assert sorted(set(map(number, entries))) == list(range(1, tables + 1))
        about = {number(name) for name, entry in entries.items() if entry["pretraining"]}
        assert about == ABOUT_PRETRAINING[paper]
        about = {number(name) for name, entry in entries.items() if not entry["pretraining"] and "table" in entry}
        assert about == ABOUT_FINE_TUNING[paper]
        for entry in COVERAGE[paper].values():
            assert ("table" in entry) == ("rows" in entry) != ("about" in entry)
            assert all(len(reason.split()) > 3 and rows for reason, rows in entry.get("elsewhere", {}).items())


def test_every_such_table_has_its_yaml_and_rows():
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


STAGES = {
    "Retriever_1": "evaluate", "BM25": "evaluate", "Retriever_2": "evaluate2", "hard": "evaluate2",
    "+ mined": "evaluate2",
    "Retriever_distil": "evaluate_distilled", "reranker_distilled": "evaluate_distilled",
    "+ distillation": "evaluate_distilled", "Cross-encoder": "rerank",
}  # fmt: skip
"""How a paper begins the name of a rung -> the stage that measures it."""


def as_printed(table: dict) -> dict[str, dict[str, dict[str, float | None]]]:
    """Row -> data set -> `measure` or `stage/measure` -> value, of a table as paper_results.yaml has it."""
    found: dict = {}
    for row, cells in table["rows"].items():
        row, _, part = row.partition(" | ")
        for key, value in cells.items():
            data, _, measure = key.rpartition("/")
            stage = next((stage for name, stage in STAGES.items() if (part or data).startswith(name)), "")
            measure = "/".join(filter(None, [stage, measure.replace("MRR", "RR").replace("@1k", "@1000")]))
            share = value if value is None or table["unit"] == "fraction" else round(value / 100, 6)
            found.setdefault(row, {}).setdefault("msmarco_dev" if stage else data or "glue_dev", {})[measure] = share
    return found


@pytest.mark.skipif(
    not PAPER_RESULTS.is_file(), reason="paper_results.yaml, the papers' numbers, is not beside this checkout"
)
def test_numbers_are_those_of_the_papers():
    """Every row and every value of a covered table is in coverage.yaml, or the row is named among those elsewhere."""
    results = yaml.safe_load(PAPER_RESULTS.read_text(encoding="utf-8"))["papers"]
    for paper, entries in COVERAGE.items():
        covered_tables = {
            number(name) for name, entry in entries.items() if name.startswith("table") and "rows" in entry
        }
        for table in covered_tables:
            printed = as_printed(results[paper]["tables"][f"table_{table}"])
            wanted = {(row, data) for row, values in printed.items() for data in values}
            for name, entry in entries.items():
                if name.startswith("table") and number(name) == table:
                    for row in entry["rows"].values():
                        for data in row.keys() - {"printed"}:
                            values = printed[row["printed"]][data]
                            assert flat(row[data], any("/" in key for key in values)) == values, (paper, name, row)
                            wanted.discard((row["printed"], data))
                    elsewhere = set(itertools.chain(*entry.get("elsewhere", {}).values()))
                    assert elsewhere <= set(printed)
                    wanted = {(row, data) for row, data in wanted if row not in elsewhere}
            assert not wanted, (paper, table)


def flat(values: dict, staged: bool) -> dict[str, float | None]:
    """Values of coverage.yaml as `measure`, or as `stage/measure`."""
    if not any(isinstance(part, dict) for part in values.values()):
        values = {"evaluate": values}
    parts = (
        (stage, key.removeprefix("answer_"), value) for stage, part in values.items() for key, value in part.items()
    )
    return {f"{stage}/{key}" if staged else key: value for stage, key, value in parts}


def test_the_readme_lists_what_there_is():
    text = (EXPERIMENTS / "README.md").read_text(encoding="utf-8")
    listed = {name: int(rows) for name, rows in re.findall(r"^\| `(\w+)` \| (\d+) \|", text, re.MULTILINE)}
    assert listed == {table: len(swept(table)[1]) for table in TABLES}
    assert set(re.findall(r"\+table=(\w+)|NAME=(\w+_\d+)", text)) <= {(table, "") for table in TABLES} | {
        ("", t) for t in TABLES
    }
    for folder, rows in re.findall(r"\+(\w+)=(t\w[\w,]*)", text):
        assert all((EXPERIMENTS / folder / f"{row}.yaml").is_file() for row in rows.split(","))


@pytest.mark.parametrize("path", ROWS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_row_says_what_it_repeats(path):
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 15
    assert text.splitlines()[0] == "# @package _global_"
    row = yaml.safe_load(text)
    assert row["defaults"][0].keys() == {"/experiment"}
    assert row["name"] in (f"{path.parent.name}_{path.stem}", "none")
    entry, name = None, None
    for found, table in COVERAGE[path.parent.name].items():
        if path.stem in table.get("rows", {}):
            entry, name = table["rows"][path.stem], found
    if entry is None:
        assert path.stem in OURS["cdmae_mask"]
        assert "paper_results" not in row
        return
    first = text.splitlines()[1]
    place = f"{name.split('_')[0].title()} {number(name)}"
    assert re.search(rf" {place}\b", first), first
    assert first.endswith(f": +{path.parent.name}={path.stem}")
    if not entry:
        assert "paper_results" not in row
        return
    assert f'"{entry["printed"]}"' in first
    assert f" {place}," in row["paper_source"]
    values = next(entry[data] for data in ("msmarco_dev", "nq_test", "glue_dev") if data in entry)
    assert row["paper_results"] == {name: value for name, value in values.items() if value is not None}


PRETRAINING = [table for table in TABLES if table in OURS or covered()[table][1]["pretraining"]]
FINE_TUNING = [table for table in TABLES if table not in PRETRAINING]


@pytest.mark.parametrize("table", PRETRAINING)
def test_a_pre_training_table_starts_at_every_scale_and_every_row_takes_two_steps(
    table, launch_table, inputs, tmp_path, monkeypatch
):
    jobs = launch_table(table, *SCALES)
    for job in itertools.chain(*jobs.values()):
        assert {node.stage for node in job.nodes.values()}.isdisjoint(("retriever2", "reranker", "distilled"))
        retriever = job.nodes.get(f"retriever1@{job.name}")
        assert (retriever is None) == ("glue" in job.published)
        assert retriever is None or retriever.config["losses"]["contrastive"]["form"] == "plain"
    check_that_what_differs_in_print_is_computed_differently(jobs["paper"])
    for job in (job for job in jobs["laptop"] if job.pretrain):
        if job.pretrain.hash not in TRAINED:
            steps.take_two_steps(job.pretrain.config, job.pretrain.inputs, inputs, tmp_path, monkeypatch)
        TRAINED.add(job.pretrain.hash)


@pytest.mark.parametrize("table", FINE_TUNING)
def test_a_fine_tuning_table_starts_at_every_scale(table, launch_table):
    """All stages of all rows can be built, among them those with a published value."""
    jobs = launch_table(table, "gpu", "paper")
    for job in itertools.chain(*jobs.values()):
        assert {f"{stage}@{job.name}" for stage in job.published} <= set(job.nodes)
        for node in job.nodes.values():
            made = build(node.config, node.stage)
            made.name = node.stage
            made.check_inputs({role: key and job.nodes[key] for role, key in node.inputs.items()})
    check_that_what_differs_in_print_is_computed_differently(jobs["paper"])


TWO_STEPS = [
    "scale=laptop", "encoder=tiny", "retriever1.steps=2", "retriever1.batch_size=4", "retriever1.passage_length=32",
    "reranker.steps=2", "reranker.batch_size=4", "reranker.length=32", "distilled.negatives.depth=3", "rerank.depth=3",
    "logger=none",
]  # fmt: skip
SAME_BUT_FOR_NUMBERS = {"cdmae_f4": ["retriever1.train_group_size=4"]}
"""Tables whose rows are one computation with these overrides: they take their steps once."""


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Where the rows share the stages that they have in common."""
    return tmp_path_factory.mktemp("rows") / "outputs"


@pytest.mark.parametrize("table", FINE_TUNING)
def test_a_fine_tuning_table_runs_to_its_report(table, command_here, inputs, outputs, tmp_path, monkeypatch):
    """Two steps of every stage that trains; published values stand beside the rung that they are of."""
    from bmae_lightning.command.pipeline import Pipeline

    class Rest(Pipeline):
        """Without what comes before fine-tuning."""

        def run(self):
            for node in self.nodes.values():
                if node.stage in inputs and not node.directory.exists():
                    node.directory.parent.mkdir(parents=True, exist_ok=True)
                    node.directory.symlink_to(inputs[node.stage])
            super().run()

    monkeypatch.setattr("bmae_lightning.stage.training.fit", steps.fine_tune)
    for module in ("stage.report", "report.sweep"):
        monkeypatch.setattr(f"bmae_lightning.{module}.write_html", lambda *_: None)  # its figures take the longest
    folder, rows = swept(table)
    options = [*TWO_STEPS, *SAME_BUT_FOR_NUMBERS.get(table, []), f"output_dir={outputs}", f"hydra.sweep.dir={tmp_path}"]
    assert command_here(Rest, f"+table={table}", *options) == [0] * len(rows)
    for place, row in enumerate(rows):
        config = yaml.safe_load((EXPERIMENTS / folder / f"{row}.yaml").read_text(encoding="utf-8"))
        nodes = json.loads((tmp_path / str(place) / "result.json").read_text())["nodes"]
        arms = json.loads((Path(nodes["report"]) / "report.json").read_text())["arms"]
        shown = json.loads((Path(nodes["report"]) / "manifest.json").read_text())["config"]["shown_as"]
        printed = check_paper(config.get("paper_results", {}), shown)
        arm_of = {stage: "" if stage == "bm25" else config["name"] for stage in printed}
        wanted = {shown_name(arm_of[stage], shown[stage]): values for stage, values in printed.items() if values}
        assert {arm["name"]: arm["paper"] for arm in arms if arm["paper"]} == wanted
        assert len(arms) == sum(key.partition("@")[0] in shown for key in nodes)


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
