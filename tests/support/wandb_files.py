"""Offline files of W&B, read by W&B's own reader (`wandb leet inspect`)."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any, NamedTuple


class Part(NamedTuple):
    """One part of a run: `run` is how it was started, `rows` its history, `artifacts` what it used or made."""

    run: dict[str, Any]
    config: dict[str, Any]
    rows: list[dict[str, Any]]
    artifacts: list[dict[str, Any]]
    code: int | None

    def artifact_names(self, used: bool) -> set[tuple[str, str]]:
        """(type, name) of what was taken as an input, or else of what was made."""
        mine = (a for a in self.artifacts if a["type"] != "run_table" and not a["name"].startswith("run-"))
        return {(a["type"], a["name"]) for a in mine if bool(a.get("use_after_commit")) is used}


def read_closed(path: Path) -> Part:
    """A part that its process has closed, once W&B's own process has written its end."""
    for _ in range(100):
        if (part := read_part(path)).code is not None:
            return part
        time.sleep(0.1)
    raise AssertionError(f"{path} has no end")


def read_part(path: Path) -> Part:
    from wandb.util import get_core_path

    core = [
        get_core_path(),
        "leet",
        "inspect",
        "--no-observability",
        "--json",
        "--run-file",
        str(path),
        str(path.parent.parent),
    ]
    output = subprocess.run(core, capture_output=True, text=True, check=True, timeout=60).stdout
    records = [json.loads(line) for line in output.splitlines()]
    of = {kind: [r[kind] for r in records if r["type"] == kind] for kind in ("run", "history", "artifact", "exit")}
    (run,) = of["run"]
    rows = [row["item"] for row in of["history"]]
    code = of["exit"][0].get("exit_code", 0) if of["exit"] else None
    return Part(run, run["config"]["update"], rows, of["artifact"], code)


def read_runs(output_dir: Path) -> dict[str, list[Part]]:
    """Id of a run -> its parts in order of time, of which the last one is closed."""
    paths: dict[str, list[Path]] = {}
    for path in sorted(output_dir.glob("wandb/offline-run-*/run-*.wandb")):
        paths.setdefault(path.stem.removeprefix("run-"), []).append(path)
    return {run: [*map(read_part, parts[:-1]), read_closed(parts[-1])] for run, parts in paths.items()}


def steps(parts: list[Part], key: str = "_step") -> list[int]:
    """The values of a step axis over all parts of a run."""
    return [row[key] for part in parts for row in part.rows if key in row]
