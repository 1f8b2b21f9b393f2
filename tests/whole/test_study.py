"""The study of experiments/study/: what its rows have in common, equal cost, the choice of the best, its pieces."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from support.command import environment, write_collection
from support.paths import ROOT
from support.tables import Command, Job

from bmae_lightning.report.content import read_report
from bmae_lightning.runtime.ledger import DONE, FAILED, Ledger

STUDY = ROOT / "experiments" / "study"
ROWS = sorted(path.stem for path in STUDY.glob("*.yaml"))
COMMON = ("steps", "epochs", "batch_size", "length", "lr", "warmup", "weight_decay", "encoder", "seed", "trainer")


@pytest.fixture
def start(tmp_path, monkeypatch) -> Command:
    return Command(monkeypatch, tmp_path)


@pytest.fixture(scope="module")
def here(tmp_path_factory) -> list[str]:
    return ["corpus=beir", f"corpus.path={write_collection(tmp_path_factory.mktemp('study') / 'collection')}"]


def part(start: Command, name: str, here: list[str], *options: str) -> dict[str, Job]:
    """The jobs of a part, by the name of their arm (of the last one, where several have it)."""
    return {job.name: job for job in start.planned(f"+study/part={name}", "seed=1", *here, *options)}


def test_rows_differ_in_their_pre_training_alone_and_every_row_is_in_the_first_part(start, here):
    jobs = part(start, "objectives", here)
    assert sorted(jobs) == ROWS
    tuned = [job.nodes[f"retriever1@{name}"].config for name, job in jobs.items() if name != "none"]
    assert all(config == tuned[0] for config in tuned)
    assert jobs["none"].pretrain is None
    trained = [job.pretrain.config for name, job in jobs.items() if name != "none"]
    assert all(config[key] == trained[0][key] for config in trained for key in COMMON)
    assert (trained[0]["steps"], trained[0]["encoder"]["layers"], trained[0]["trainer"]["accelerator"]) == (
        20000, 4, "gpu"
    )  # fmt: skip
    assert len({job.pretrain.hash for name, job in jobs.items() if name != "none"}) == len(ROWS) - 1
    joint, split, control = (jobs[f"cdmae_{name}"] for name in ("joint", "split", "random"))
    assert joint.pretrain.config == split.pretrain.config
    assert [job.nodes["statistics"].config["pmi_mode"] for job in (joint, split)] == ["joint", "split"]
    assert control.pretrain.config["decoders"]["shallow"]["mask"]["sigma"] == 1e9


WEIGHTS = {  # of a step: passes of the encoder, layers of decoders, vocabulary heads at every position
    "mlm": (1, 0, 1), "retromae": (1, 1, 2), "autoencoder": (1, 2, 1), "dupmae": (1, 1, 3), "cdmae_joint": (1, 2, 2),
}  # fmt: skip


@pytest.mark.parametrize(
    ("begin", "layers", "width", "words"), [("scratch", 4, 256, 8000), ("continued", 12, 768, 30522)]
)
def test_rows_of_equal_cost_take_as_many_operations_as_retromae(start, here, begin, layers, width, words):
    def operations(name):
        passes, deep, heads = WEIGHTS[name]
        return passes * layers * 12 * width**2 + deep * 12 * width**2 + heads * width * words

    rows = ",".join(WEIGHTS)
    jobs = part(start, "objectives", here, f"study/start={begin}", "study/budget=flops", f"+study={rows}")
    assert jobs["retromae"].pretrain.config["steps"] == 20000
    for name, job in jobs.items():
        assert job.pretrain.config["steps"] == round(20000 * operations("retromae") / operations(name)), name
        assert job.pretrain.config["epochs"] is None


def finished(sweep: Path, number: int, row: str, state: str = DONE, **splits: float) -> None:
    job, stage = sweep / str(number), sweep / "store" / str(number)
    job.mkdir(parents=True)
    stage.mkdir(parents=True)
    (stage / "metrics.json").write_text(json.dumps({of: {"mean": {"RR@10": value}} for of, value in splits.items()}))
    result = {"overrides": [f"+study={row}", f"seed={number}"], "nodes": {f"evaluate@{row}": str(stage)}}
    (job / "result.json").write_text(json.dumps(result))
    Ledger(sweep).add(number, state, directory=str(number))


def best(*arguments: object) -> subprocess.CompletedProcess:
    command = [sys.executable, str(STUDY / "best.py"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_best_are_chosen_by_their_mean_on_dev_without_the_reference(tmp_path):
    for number, (row, dev, test) in enumerate(
        [("a", 0.1, 0.9), ("b", 0.3, 0.1), ("b", 0.5, 0.1), ("c", 0.39, 0.5), ("d", 0.41, 0.2), ("none", 0.9, 0.9)]
    ):
        finished(tmp_path, number, row, dev=dev, test=test)
    finished(tmp_path, 7, "e", FAILED, dev=1.0, test=1.0)  # left by an earlier study in this directory
    assert best(tmp_path).stdout == "d,b,c\n"
    assert best(tmp_path, "--split", "test", "--rows", 2).stdout == "a,c\n"
    refused = best(tmp_path, "--split", "other")
    assert refused.returncode == 1
    assert "other was not measured" in refused.stderr
    assert "no row with pre-training has finished" in best(tmp_path / "nowhere").stderr


PROGRAM = """#!/bin/sh
# Takes the place of Python: notes its arguments; the objectives need three pieces, the first of which hangs.
case "$*" in
*torch*) echo cpu; exit ;;
*report.runs=*) echo "part= $4 $5" >>calls; exit ;;
*best.py*) echo simlm,master; exit ;;
esac
echo "$*" >>calls
for argument; do
    case $argument in
    hydra.sweep.dir=*) place=${argument#*=} ;;
    study/start=*) start=${argument#*=} ;;
    +study/part=*) name=${argument#*=} ;;
    esac
done
mkdir -p "$place"
case "$name $(grep -c "part=$name study/start=$start" calls)" in
"objectives 1") sleep 60 ;;
"objectives 2") exit 75 ;;
"depth "*) exit 2 ;;
esac
"""


@pytest.fixture
def study(tmp_path):
    """Runs the study with a stand-in for Python; returns the exit code and what it was called for."""
    program = tmp_path / "program"
    program.write_text(PROGRAM)
    program.chmod(0o755)

    def run(*overrides, **variables):
        (tmp_path / "calls").unlink(missing_ok=True)
        environment = {k: v for k, v in os.environ.items() if k not in ("PIECES", "ROWS", "STARTS")}
        environment |= {"PYTHON": str(program), "STARTS": "scratch", "PIECE": "31"} | variables
        process = subprocess.run(["sh", STUDY / "run.sh", *overrides], cwd=tmp_path, env=environment, check=False)
        calls = (tmp_path / "calls").read_text().splitlines()
        return process.returncode, [line.partition("part=")[2].strip() for line in calls]

    return run


@pytest.mark.skipif(shutil.which("timeout") is None, reason="needs timeout, of coreutils")
def test_pieces_end_continue_and_are_not_run_again(study):
    def call(name, *options):
        common = f"{name} study/start=scratch output_dir=outputs trainer=cpu"
        return " ".join([common, *options, f"hydra.sweep.dir=outputs/study/scratch/{name}"])

    assert study("corpus=beir", PIECES="1") == (75, [call("objectives", "corpus=beir")])
    code, calls = study("corpus=beir")
    assert code == 2, "a part that fails does not stop the others, and is told"
    parts = ["objectives", "ladder", "decoder_rate", "encoder_rate", "depth"]
    assert [line.split()[0] for line in calls[2:-1]] == parts
    assert calls[:3] == [call("objectives", "corpus=beir")] * 3
    assert calls[3] == call("ladder", "+study=none,simlm,master", "corpus=beir")
    places = ",".join(f"outputs/study/scratch/{name}" for name in parts)
    page = f"report.runs=[{places}] report.name=study_scratch"
    assert calls[-1] == page
    assert study("corpus=beir") == (2, [call("depth", "corpus=beir"), page]), "what has finished stays"
    code, calls = study("corpus=beir", "seed=1", ROWS="none,mlm")
    assert calls[0] == call("objectives", "+study=none,mlm", "corpus=beir", "seed=1")


TINY = [
    "encoder=tiny", "seed=1", "logger=none", "pretrain.steps=2", "pretrain.batch_size=8", "pretrain.length=32",
    "masked_lm.steps=1", "retriever1.steps=2", "retriever1.epochs=null", "retriever1.batch_size=4",
    "retriever1.passage_length=32", "retriever1.train_group_size=2", "reranker.steps=1", "reranker.epochs=null",
    "reranker.batch_size=2", "reranker.train_group_size=2", "reranker.length=32", "distilled.epochs=null",
    "distilled.steps=1", "distilled.train_group_size=2", "distilled.negatives.depth=3", "rerank.depth=3",
    "generate.shard=64", "trainer.precision=32-true", "pretrain.workers=0", "retriever1.workers=0",
]  # fmt: skip


@pytest.mark.slow
def test_the_whole_study_runs_to_its_pages(tmp_path):
    """From scratch, with a tiny encoder and one seed: every row, the ladder of those that are best, every curve."""
    collection = write_collection(tmp_path / "collection")
    header, *judged = (collection / "qrels" / "test.tsv").read_text().splitlines()
    for split, lines in {"dev": judged[:10], "test": judged[10:]}.items():
        (collection / "qrels" / f"{split}.tsv").write_text("\n".join([header, *lines]) + "\n")
    process = subprocess.run(
        ["sh", STUDY / "run.sh", "corpus=beir", f"corpus.path={collection}", *TINY],
        cwd=tmp_path, env=environment() | {"PYTHON": sys.executable, "STARTS": "scratch", "TRAINER": "cpu"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert process.returncode == 0, process.stdout[-3000:] + process.stderr[-3000:]
    assert len(read_report(tmp_path / "outputs" / "reports" / "study_scratch" / "report.json").arms) > len(ROWS)
    pages = {path.parent.name: read_report(path) for path in tmp_path.glob("outputs/study/scratch/*/report.json")}
    rows = {name: {arm.name for arm in page.arms} - {"bm25"} for name, page in pages.items()}
    assert rows["objectives"] == {*ROWS, "no pre-training"} - {"none"}
    assert len({name.split()[0] for name in rows["ladder"]} - {"no"}) == 3, "the best three and the reference"
    for name, points in {"decoder_rate": 5, "encoder_rate": 5, "depth": 4}.items():
        lines = next(curve for curve in pages[name].along if curve.title.startswith("RR@10 over ")).series
        assert {len(line) for line in lines.values()} == {points}
        assert (tmp_path / "outputs" / "study" / "scratch" / name / "report.html").is_file()
