"""`metrics.jsonl`: a line of numbers for each logged step, read without what trains."""

import json
from pathlib import Path

from bmae_lightning.runtime.files import write_text

VALIDATION = "validation/"
"""What the names of measures begin with that are taken during training."""


def keep_until(path: Path, step: int) -> None:
    """Drop the lines of later steps, and one that a killed run left half written."""
    if path.is_file():
        lines = [line for line in path.read_text(encoding="utf-8").splitlines(True) if line.endswith("\n")]
        write_text(path, "".join(line for line in lines if json.loads(line)["step"] <= step))


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The lines of a `metrics.jsonl`, one per logged step."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
