"""CPU seconds until a command answers: help, mistakes at every level, a finished pipeline, one step of pre-training.

User and system time of the whole process, median and range; the collection is made and prepared once beforehand.

python benchmarks/start_up.py [--encoder tiny] [--repeats 3] [--tree DIR]    # DIR: another checkout, side by side
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
METHOD = ["+experiment=retromae", "corpus.packages=[numpy]", "pretrain.steps=1", "retriever1.steps=1", "logger=none"]
CASES = {
    "help": ["--help"],
    "configuration": [*METHOD, "--cfg", "job"],
    "no such option": [*METHOD, "pretrain.stepz=3"],
    "no such choice": [*METHOD, "decoders=[deep]"],
    "no such directory": ["+experiment=retromae", "corpus=beir", "corpus.path=nowhere"],
    "mask rate of 2": [*METHOD, "stage=[pretrain]", "pretrain.seed=0", "view.passage.mask.rate=2"],
    "no step": [*METHOD, "stage=[pretrain]", "pretrain.steps=0"],
    "no such span": [*METHOD, "stage=[pretrain]", "view.passage.span=middle"],
    "a sweep with a mistake": ["-m", *METHOD, "seed=1,2", "view.passage.mask.rate=2"],
    "report without runs": ["report", "report.runs=[nowhere]"],
    "evaluate without a run": ["evaluate", "run=nowhere", "qrels=nowhere"],
    "finished pipeline": METHOD,
    "one step of pre-training": [*METHOD, "stage=[pretrain]", "pretrain.seed={repeat}"],
}
"""What is measured -> arguments."""


def seconds(tree: Path, arguments: list[str], directory: Path) -> float:
    """User and system seconds of a command, whatever it answers."""
    process = subprocess.Popen(
        [sys.executable, "-m", "bmae_lightning", *arguments], cwd=directory, env=os.environ | {"PYTHONPATH": str(tree)},
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    _, _, used = os.wait4(process.pid, 0)
    return used.ru_utime + used.ru_stime


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--encoder", default="tiny")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--tree", type=Path, action="append", default=[HERE])
    parser.add_argument("--cases", nargs="+", default=list(CASES), choices=list(CASES))
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        directories = {tree: Path(made) / str(number) for number, tree in enumerate(chosen.tree)}
        measured = {(case, tree): [] for case in chosen.cases for tree in chosen.tree}
        for tree, directory in directories.items():
            directory.mkdir()
            if {"finished pipeline", "one step of pre-training"} & set(chosen.cases):
                seconds(tree, [*METHOD, f"encoder={chosen.encoder}"], directory)
        for repeat in range(1, chosen.repeats + 1):
            for case, tree in measured:
                arguments = [argument.format(repeat=repeat) for argument in CASES[case]]
                encoder = [f"encoder={chosen.encoder}"] if METHOD[0] in arguments else []
                measured[case, tree].append(seconds(tree, [*arguments, *encoder], directories[tree]))
    for tree in chosen.tree:
        print(f"CPU seconds in {tree}: median [lowest, highest] of {chosen.repeats}")
        for case in chosen.cases:
            took = measured[case, tree]
            print(f"  {case:<26}{statistics.median(took):6.2f} [{min(took):.2f}, {max(took):.2f}]")


if __name__ == "__main__":
    main()
