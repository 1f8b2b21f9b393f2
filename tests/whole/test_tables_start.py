"""The tables of the papers start: every row at every scale, two steps of all that trains; a cell is one computation."""

import itertools
import os
import shutil
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest
from support import two_steps as steps
from support.beir_files import write_suite
from support.dpr_files import write_dpr
from support.msmarco_files import write_msmarco
from support.paths import ROOT
from support.tables import ENTRIES, ROWS, TABLES, Command, Job, chosen, places, read, repeated, row, rows_of

from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.fingerprint import fingerprint

FOLDERS = sorted({path.parent.name for path in ROWS})
FINE_TUNED = ("retriever1", "retriever2", "reranker", "distilled")
TINY = [
    "scale=laptop", "encoder=tiny", "retriever1.steps=2", "retriever1.batch_size=4", "retriever1.passage_length=32",
    "reranker.steps=2", "reranker.batch_size=4", "reranker.length=32", "distilled.negatives.depth=3", "rerank.depth=3",
    "logger=none",
]  # fmt: skip
ONLY = {"cdmae_f4": ["retriever1.train_group_size=4"]}
"""Options without which a table needs more passages than the small collection has."""
NOT_WHAT_IS_MEASURED = ("train_depth", "measures", "collections", "models", "sets", "parts")
"""Options of a stage that measures which do not change a value that it measured."""


@pytest.fixture
def start(tmp_path, monkeypatch) -> Command:
    return Command(monkeypatch, tmp_path)


@pytest.fixture(scope="module")
def collections(tmp_path_factory) -> list[str]:
    """Folders as MS MARCO and DPR publish them, a general collection, and a suite that is never opened."""
    root = tmp_path_factory.mktemp("collections")
    msmarco, nq, suite = (
        write_msmarco(root / "msmarco"),
        write_dpr(root / "nq"),
        write_suite(root / "suite", ["scifact"]),
    )
    return [f"collections.msmarco={msmarco}", f"collections.nq={nq}", f"suite.path={suite}"]


@pytest.fixture(scope="module")
def marks(tmp_path_factory) -> Path:
    """Where what has taken its steps is noted, for all processes that share the tests."""
    root = tmp_path_factory.getbasetemp()
    path = (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "steps_of_tables"
    path.mkdir(exist_ok=True)
    return path


def first_time(marks: Path, name: str) -> bool:
    try:
        (marks / name).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True


def check(job: Job) -> None:
    """Every stage that fine-tunes or measures can be built, and what is printed is measured."""
    assert {stage for (_, stage, _), _ in job.cells()} <= {node.stage for node in job.nodes.values()}
    assert (job.pretrain is None) == (job.name == "none")
    for node in job.nodes.values():
        made = build(node.config, node.stage)
        made.name = node.stage
        if not node.stage.startswith("pretrain"):  # looks into the checkpoint that it starts from
            made.check_inputs({role: key and job.nodes[key] for role, key in node.inputs.items()})


@pytest.mark.parametrize("table", TABLES)
def test_a_table_starts_and_every_row_takes_two_steps(
    table, start, collection, collections, inputs, outputs, marks, tmp_path, monkeypatch
):
    """Pre-trainings and fine-tunings that several rows or tables share take theirs once."""
    here = [f"+table={table}", "corpus=beir", f"corpus.path={collection}", *collections, *TINY, *ONLY.get(table, [])]
    jobs = dict(zip(rows_of(table), start.planned(*here)[:: repeated(table)], strict=True))
    assert len(start.codes) == repeated(table) * len(rows_of(table))
    assert {job.group for job in jobs.values()} == {table}
    chosen = []
    for name, job in jobs.items():
        assert job.name == row(name)["name"]
        check(job)
        if job.pretrain and first_time(marks, job.pretrain.hash):
            sources = {
                role: key and key.partition("@")[0].removesuffix("_general")
                for role, key in job.pretrain.inputs.items()
            }
            steps.take_two_steps(job.pretrain.config, sources, inputs, tmp_path, monkeypatch)
        new = [n for n in job.nodes.values() if n.stage in FINE_TUNED and first_time(marks, told_by_options(n))]
        chosen += [name] * bool(new)
    if chosen:
        run_from_fine_tuning(start, chosen, here[1:], inputs, outputs, monkeypatch)


def told_by_options(node) -> str:
    """A name for what a fine-tuning does, whatever encoder and ranking it starts from."""
    return fingerprint(
        node.config | {"stage": node.stage}, {role: str(key is None) for role, key in node.inputs.items()}
    )


def run_from_fine_tuning(start, rows, options, inputs, outputs, monkeypatch) -> None:
    """Rows up to their report, with two steps of every stage that fine-tunes."""
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
    folder = rows[0].split("/")[0]
    names = ",".join(name.split("/")[1] for name in rows)
    options = [*options, "pretrain_step=null"]  # the pre-training that stands for all keeps its last encoder only
    start("-m", f"+{folder}={names}", "baseline=false", *options, f"output_dir={outputs}", pipeline=Rest)
    assert start.codes == [0] * len(rows)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, collection):
    return steps.make_inputs(tmp_path_factory.mktemp("inputs"), collection)


@pytest.fixture(scope="module")
def outputs(tmp_path_factory):
    """Where the rows share the stages that they have in common."""
    return tmp_path_factory.mktemp("rows") / "outputs"


@pytest.mark.parametrize("folder", FOLDERS)
def test_every_row_starts_on_one_gpu(folder, start, collection, collections):
    rows = [f"{folder}/{path.stem}" for path in ROWS if path.parent.name == folder]
    for job in launch(start, folder, rows, "scale=gpu", "corpus=beir", f"corpus.path={collection}", *collections):
        check(job)


def launch(start: Command, folder: str, rows: list[str], *options: str) -> list[Job]:
    names = ",".join(name.split("/")[1] for name in rows)
    return start.planned("-m", f"+{folder}={names}", "baseline=false", "seed=1", *options)


def on_paper(start: Command, collections: list[str]) -> dict[tuple[str, str], Job]:
    """(row, corpus) -> its job at scale=paper on each collection that it has a printed value of, otherwise MS MARCO."""
    found = {}
    for folder, corpus, alone in itertools.product(FOLDERS, ("msmarco", "nq"), (True, False)):
        here = {corpus, "beir", "glue"} if corpus == "msmarco" else {corpus}
        rows = [f"{folder}/{path.stem}" for path in ROWS if path.parent.name == folder]
        rows = [n for n in rows if (places(n) or {"msmarco"}) & here and chosen(n, "corpus") in (None, corpus)]
        needs = {name for name in rows if chosen(name, "general") == "only" and not chosen(name, "corpus")}
        rows = [name for name in rows if (name in needs) == alone]
        more = ["corpus@general.corpus=nq"] if alone else []
        more += ["collections.neighbours=collection_order"]  # no file tells documents
        if rows:
            jobs = launch(start, folder, rows, "scale=paper", f"corpus={corpus}", *more, *collections)
            found |= {(name, corpus): job for name, job in zip(rows, jobs, strict=True)}
    return found


def computation(job: Job, stage: str) -> str:
    """A name for what measured a value: the stage that did, and all that it read."""
    node = job.measured_by(stage)
    options = {key: value for key, value in node.config.items() if key not in NOT_WHAT_IS_MEASURED}
    return fingerprint(options, {str(i): job.nodes[key].hash for i, key in enumerate(node.inputs.values()) if key})


def digits(name: str) -> int:
    """Of a printed fraction."""
    table = next(read(f"table/{table}")["paper_table"] for table in ENTRIES if name in rows_of(table))
    own = row(name)["paper_row"].get("digits", table["digits"])
    return own + 2 * (table["unit"] == "percent")


def explained() -> set[str]:
    """Systems in the last table of docs/departures.md."""
    section = (ROOT / "docs" / "departures.md").read_text(encoding="utf-8").split("\n## ")[-1]
    names = {line.strip("| ").split(" | ")[0] for line in section.splitlines() if line.startswith("| ")}
    return names - {"system", "---"}


def test_a_printed_cell_is_one_computation(start, collections):
    """Rows of any tables that print one value for one system have it from one stage with one fingerprint."""
    jobs = on_paper(start, collections)
    shared = {jobs[f"dupmae/{name}", "msmarco"].pretrain.hash for name in ("t3_retromae", "t3_cls")}
    assert len(shared) == 1, "DupMAE §4.2: CLS decoding only is RetroMAE's pre-training, represented in two parts"
    check_that_what_differs_in_print_is_computed_differently(jobs)
    cells = defaultdict(dict)
    for (name, _), job in jobs.items():
        check(job)
        for cell, value in job.cells():
            cells[row(name)["paper_row"]["system"], *cell][name] = value
    different = defaultdict(set)
    for (system, place, stage, _), values in cells.items():
        for one, other in itertools.combinations(values, 2):
            shared = min(digits(one), digits(other))
            if round(values[one], shared) == round(values[other], shared):
                corpus = "nq" if place.startswith("nq") else "msmarco"
                if computation(jobs[one, corpus], stage) != computation(jobs[other, corpus], stage):
                    different[system].add((place, stage, one, other))
    assert {system: pairs for system, pairs in different.items() if system not in explained()} == {}
    assert explained() <= set(different), "explained, but computed alike"


def check_that_what_differs_in_print_is_computed_differently(found: dict[tuple[str, str], Job]) -> None:
    """Rows of a table share a measuring stage only where one result is printed for both."""
    for table, corpus in itertools.product(ENTRIES, ("msmarco", "nq")):
        jobs = [found[name, corpus] for name in rows_of(table) if (name, corpus) in found]
        for one, other in itertools.combinations(jobs, 2):
            mine, its = dict(one.cells()), dict(other.cells())
            for cell in mine.keys() & its.keys():
                if mine[cell] != its[cell]:
                    assert computation(one, cell[1]) != computation(other, cell[1]), (one.name, other.name, cell)


def test_a_sweep_is_one_group_whatever_it_runs_over(start, collection):
    here = ["corpus=beir", f"corpus.path={collection}"]
    jobs = start.planned("-m", "+experiment=retromae,dupmae", "decoders.enhanced.mask.rate=0.3,0.5", *here)
    assert len(jobs) == 4
    (group,) = {job.group for job in jobs}
    assert group.startswith("experiment=retromae,dupmae decoders.enhanced.mask.rate=0.3,0.5")
    named = start.planned("-m", "+experiment=retromae,dupmae", "group=mine", "decoders.enhanced.mask.rate=0.3", *here)
    assert {job.group for job in named} == {"mine"}
    (single,) = start.planned("+experiment=retromae", "decoders.enhanced.mask.rate=0.3", *here)
    assert single.group == "retromae"
    assert {key: node.hash for key, node in single.nodes.items()} == {
        key: node.hash for key, node in jobs[0].nodes.items()
    }


def test_a_table_without_its_directory_is_refused(tmp_path):
    output = steps.tools.command("+table=retromae_6", cwd=tmp_path, code=2)
    assert output.splitlines()[-1].startswith("error: +table=retromae_6: there is no group 'table'")
    assert "-cd experiments" in output
    output = steps.tools.command("-cd", str(ROOT / "experiments"), "+table=retromae_7", cwd=tmp_path, code=2)
    assert output.splitlines()[-1] == "error: table=retromae_7: there is no such option; did you mean 'retromae_6'?"


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_make_table():
    outside = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}  # of `make test`
    command = ["make", "--dry-run", "--assume-old=.venv/installed", "table", "NAME=retromae_6", "ARGS=scale=laptop"]
    made = subprocess.run(command, cwd=ROOT, env=outside, capture_output=True, text=True, check=False)
    assert made.stdout.splitlines()[-1].endswith("-m bmae_lightning -cd experiments +table=retromae_6 scale=laptop")
