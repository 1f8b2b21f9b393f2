"""Read what training wrote down, without importing what wrote it."""

import json
from pathlib import Path

VALIDATION = "validation/"
"""What the names of measures begin with that a stage takes while it trains."""


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The lines of a `metrics.jsonl`, one per logged step."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
