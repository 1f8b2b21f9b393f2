"""The tables of the papers in experiments/: which there are, what rows print, and the jobs that a command plans."""

import dataclasses
import math
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from support import quick_hydra
from support.paths import ROOT

EXPERIMENTS = ROOT / "experiments"
COVERAGE = yaml.safe_load((EXPERIMENTS / "coverage.yaml").read_text(encoding="utf-8"))
TABLES = sorted(path.stem for path in (EXPERIMENTS / "table").glob("*.yaml"))
ROWS = sorted(path for path in EXPERIMENTS.glob("*/*.yaml") if path.parent.name not in ("table", "study"))
OURS = {"cdmae_mask": ["mask_importance", "mask_random"]}
"""Tables that no paper has."""
ENTRIES = {
    entry["table"]: (paper, name, entry)
    for paper, entries in COVERAGE.items()
    for name, entry in entries.items()
    if "table" in entry
}
"""Table -> its paper, what coverage.yaml calls it, and what it says of it."""
Values = dict[str, dict[str, dict[str, float]]]


@cache
def read(path: str) -> dict[str, Any]:
    """A YAML file below experiments/."""
    return yaml.safe_load((EXPERIMENTS / f"{path}.yaml").read_text(encoding="utf-8"))


def row(path: str) -> dict[str, Any]:
    """A row with what it takes from the row that it begins with."""
    config = read(path)
    base = config["defaults"][0]
    return (row(f"{path.split('/')[0]}/{base}") | config) if isinstance(base, str) else config


def rows_of(table: str) -> list[str]:
    """The rows that a table runs over, by their path below experiments/."""
    params = read(f"table/{table}")["hydra"]["sweeper"]["params"]
    (group,) = (key for key in params if key.startswith("+"))
    return [f"{group.removeprefix('+')}/{name.strip()}" for name in params[group].split(",")]


def repeated(table: str) -> int:
    """How many jobs a table has of each row, which stand one behind the other."""
    params = read(f"table/{table}")["hydra"]["sweeper"]["params"]
    return math.prod(len(str(values).split(",")) for key, values in params.items() if not key.startswith("+"))


def places(name: str) -> set[str]:
    """The collections that a row has printed values of."""
    return {place.split("/")[0] for place in row(name).get("paper_results", {})}


def chosen(name: str, group: str) -> str | None:
    """What a row itself chooses of a group."""
    choices = {key: value for item in row(name)["defaults"] if isinstance(item, dict) for key, value in item.items()}
    return choices.get(f"override /{group}")


def number(entry: str) -> int:
    """Of the table or figure that an entry of coverage.yaml is."""
    return int(re.search(r"\d+", entry)[0])


@dataclasses.dataclass
class Job:
    """What a job of a command was about to run."""

    nodes: dict[str, Any]
    group: str

    @property
    def report(self) -> dict[str, Any]:
        return self.nodes["report"].config

    @property
    def name(self) -> str:
        return self.report["title"]

    @property
    def printed(self) -> Values:
        """collection/split -> stage -> measure -> value."""
        return self.report["paper_results"] or {}

    @property
    def pretrain(self):
        return self.nodes.get(f"pretrain@{self.name}")

    def measured_by(self, stage: str):
        """The node of a stage, None where this job has none."""
        return self.nodes.get(f"{stage}@{self.name}") or self.nodes.get(stage)

    def cells(self) -> Iterator[tuple[tuple[str, str, str], float]]:
        """What is printed of the job's own collection: (collection/split, stage, measure), value."""
        for place, stages in self.printed.items():
            if place.split("/")[0] in (self.report["collection"], "beir", "glue"):
                for stage, values in stages.items():
                    yield from (((place, stage, measure), value) for measure, value in values.items())


class Command:
    """The command as a user starts it, in this process and in a directory of its own; `codes` are those of its jobs."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, directory: Path) -> None:
        self.monkeypatch, self.directory, self.codes = monkeypatch, directory, []

    def __call__(self, *arguments: str, pipeline: type | None = None) -> None:
        from hydra.core.global_hydra import GlobalHydra
        from hydra.plugins.sweeper import Sweeper

        import bmae_lightning.__main__ as program
        import bmae_lightning.command.experiment as experiment

        patch = self.monkeypatch.setattr
        quick_hydra.quicken(self.monkeypatch)
        if pipeline:
            patch(experiment, "Pipeline", pipeline)
        patch(Sweeper, "validate_batch_is_legal", lambda *_: None)  # composes every job a second time
        patch(program.sweep, "plan_jobs", lambda *_, **__: None)  # and that a third time
        patch(sys, "argv", ["bmae_lightning", "-cd", str(EXPERIMENTS), *arguments])
        patch(sys, "path", list(sys.path))
        self.monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
        patch(program, "_exit_codes", [])
        self.monkeypatch.chdir(self.directory)
        GlobalHydra.instance().clear()
        program.main()
        self.codes = program._exit_codes

    def planned(self, *arguments: str) -> list[Job]:
        """Its jobs, each of which ends when its stages are planned; one that is refused is none."""
        from bmae_lightning.runtime.errors import BadInput

        jobs = []

        class Pipeline:
            def __init__(self, nodes, group, output_dir, origins, splits, *_):
                self.nodes, self.splits = nodes, splits
                jobs.append(Job(nodes, group))

            def run(self):
                raise BadInput("")

        self(*arguments, "hydra.output_subdir=null", pipeline=Pipeline)
        assert set(self.codes) == {2}
        return jobs
