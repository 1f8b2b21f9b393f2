"""The command line, and a small BEIR collection for tests that run whole stages."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

TINY = [
    "+experiment=retromae", "corpus=beir", "encoder=tiny", "pretrain.steps=6", "retriever1.steps=4",
    "pretrain.batch_size=8", "retriever1.batch_size=8",
]  # fmt: skip


def write_collection(directory: Path, passages: int = 60) -> Path:
    """Passages over a made-up vocabulary, three to a document; a query is a few words of its passage."""

    def place(i: int) -> dict:
        return {"doc_id": f"d{i // 3}", "position": i % 3}

    draw = random.Random(7)
    words = ["".join(draw.choice("bdfgklmnprstvz") + draw.choice("aeiou") for _ in range(3)) for _ in range(300)]
    (directory / "qrels").mkdir(parents=True)
    texts = [draw.sample(words, 25) for _ in range(passages)]
    with (directory / "corpus.jsonl").open("w") as file:
        file.writelines(
            json.dumps({"_id": f"p{i}", "title": "", "text": " ".join(t), "metadata": place(i)}) + "\n"
            for i, t in enumerate(texts)
        )
    with (directory / "queries.jsonl").open("w") as file:
        file.writelines(
            json.dumps({"_id": f"q{i}", "text": " ".join(draw.sample(t, 5))}) + "\n" for i, t in enumerate(texts)
        )
    for split, numbers in {"train": range(passages - 20), "test": range(passages - 20, passages)}.items():
        lines = "".join(f"q{i}\tp{i}\t1\n" for i in numbers)
        (directory / "qrels" / f"{split}.tsv").write_text("query-id\tcorpus-id\tscore\n" + lines)
    return directory


def environment() -> dict[str, str]:
    return os.environ | {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "WANDB_API_KEY": "", "NETRC": "/nonexistent"}


def start(*arguments: str, cwd: Path, **options) -> subprocess.Popen:
    """`python -m bmae_lightning …` in the background."""
    return subprocess.Popen(
        [sys.executable, "-m", "bmae_lightning", *arguments],
        cwd=cwd, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options,
    )  # fmt: skip


def command(*arguments: str, cwd: Path, code: int | None = 0, **options) -> str:
    """Run `python -m bmae_lightning …` and return what it printed; fails on another exit code."""
    process = start(*arguments, cwd=cwd, **options)
    output, _ = process.communicate(timeout=300)
    assert code is None or process.returncode == code, output
    return output


def main_here(monkeypatch: pytest.MonkeyPatch, directory: Path, *arguments: str) -> int:
    """`python -m bmae_lightning …` in this process and that directory; returns its exit code."""
    from hydra.core.global_hydra import GlobalHydra

    import bmae_lightning.__main__ as program

    monkeypatch.setattr(sys, "argv", ["bmae_lightning", *arguments])
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(program, "_exit_codes", [])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "")
    monkeypatch.delenv("HYDRA_FULL_ERROR")
    monkeypatch.chdir(directory)
    GlobalHydra.instance().clear()
    return program.main()


def metrics(output_dir: Path, stage: str, arm: str = "retromae") -> list[dict]:
    """The logged steps of a stage."""
    for path in sorted((output_dir / "store").glob(f"{stage}-*/metrics.jsonl")):
        if json.loads((path.parent / "manifest.json").read_text())["context"]["arm"] == arm:
            return [json.loads(line) for line in path.read_text().splitlines()]
    raise AssertionError(f"no {stage} of {arm} in {output_dir}")
