"""What needs no library that takes seconds to load is answered without one: mistakes, finished work, help.

Which modules are loaded is told by the process itself; no time is asserted.
"""

import subprocess
import sys

import pytest
from support.command import TINY, environment, write_collection

from bmae_lightning.runtime.postponed import SLOW

OTHERS = ("scipy", "sklearn", "wandb", "numba", "faiss", "pandas", "matplotlib")
WATCHED = f"""
import runpy, sys
def loaded():
    print("LOADED", *(name for name in {SLOW + OTHERS!r} if name in sys.modules))
try:
    runpy.run_module("bmae_lightning", run_name="__main__")
finally:
    loaded()
"""
FINISHED = "import bmae_lightning.command.plan as plan\nplan.Node.done = True\n"


@pytest.fixture(scope="module")
def collection(tmp_path_factory):
    return write_collection(tmp_path_factory.mktemp("beir"))


def loaded_by(directory, *arguments: str, before: str = "") -> tuple[list[str], str]:
    """The slow libraries in the process of a command, and what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", before + WATCHED, *arguments], cwd=directory, env=environment(), timeout=120,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
    )  # fmt: skip
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("LOADED")]
    return line.split()[1:], done.stdout


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ([*TINY, "corpus.path=nowhere"], "error: nowhere does not exist"),
        ([*TINY, "view.passage.mask.rate=2"], "error: view.passage.mask: mask rate must lie in (0, 1), got 2"),
        ([*TINY, "pretrain.loss_norm=none"], "error: pretrain: loss_norm must be one of"),
        ([*TINY, "retriever1.similarity=l2"], "error: retriever1: similarity must be one of dot, cos"),
        ([*TINY, "encoder=hf", "encoder.name=/nowhere"], "error: encoder.name=/nowhere"),
        (["report", "report.runs=[nowhere]"], "error: report.runs: there is no directory nowhere"),
        (["evaluate", "run=nowhere", "qrels=nowhere"], "error: nowhere cannot be read"),
        (["-m", *TINY, "logger=none", "seed=1,2", "pretrain.steps=0"], "make no step; one is the least"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
def test_a_mistake_is_answered_without_what_computes(collection, tmp_path, arguments, answer):
    path = [] if "corpus=beir" not in arguments or arguments[-1].startswith("corpus.path") else [str(collection)]
    loaded, output = loaded_by(tmp_path, *arguments, *(f"corpus.path={directory}" for directory in path))
    assert answer in output
    assert not loaded


@pytest.mark.parametrize("mistake", ["view.passage.span=middle", "decoders.enhanced.rows=none", "index.backend=none"])
def test_a_mistake_in_what_is_made_of_torch_needs_no_other_library(collection, tmp_path, mistake):
    loaded, output = loaded_by(tmp_path, *TINY, f"corpus.path={collection}", mistake)
    assert "must be one of" in output
    assert loaded == ["torch"]


def test_finished_stages_are_skipped_without_what_computes(collection, tmp_path):
    command = [*TINY, f"corpus.path={collection}", "stage=[evaluate]", "baseline=true", "logger=none"]
    loaded, output = loaded_by(tmp_path, *command, before=FINISHED)
    assert output.count("skipped, done in") == 7
    assert not loaded
