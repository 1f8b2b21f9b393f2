"""What is behind a row: the records of the stage that measured it and of all that it depends on, added up."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

from bmae_lightning.report.content import Origin, pretraining_of
from bmae_lightning.runtime.files import read_json
from bmae_lightning.runtime.record import Record, read_record

TAIL = 200
"""Logged lines at the end of a training whose median is its speed."""


@dataclass(frozen=True)
class _Made:
    """A finished stage: its directory, its manifest, and what it took."""

    directory: Path
    manifest: dict[str, Any]
    record: Record

    @property
    def context(self) -> dict[str, Any]:
        return self.manifest.get("context", {})


def origin_of(nodes: Mapping[str, Path | str], key: str, job: dict[str, Any]) -> Origin:
    """What is behind the rows of a node: sums over it and all that it depends on, each once.

    Args:
        nodes: `stage` or `stage@arm` -> its directory.
        key: of the node that measured.
        job: that the rows are of (`command/job.py`).
    """
    made = _needed(Path(nodes[key]))
    own, records = made[-1], [stage.record for stage in made]
    trained = any("seed" in stage.manifest.get("config", {}) for stage in made)
    pretrained = [stage for stage in made if pretraining_of(stage.context.get("stage", "")) is not None]
    attempts = [attempt for record in records for attempt in record.attempts]
    counted = [attempt for attempt in attempts if attempt.gpu] or attempts
    energy = [attempt.watt_hours for attempt in counted if attempt.watt_hours is not None]
    results = read_json(own.directory / "metrics.json") if (own.directory / "metrics.json").is_file() else {}
    origin = Origin(
        _of_row(job, trained, bool(pretrained)),
        own.manifest.get("fingerprint", ""),
        min((attempt.started for attempt in attempts), default=""),
        sum(record.seconds for record in records) if attempts else None,
        sum(attempt.device_hours for attempt in counted) if attempts else None,
        _together(attempt.place for attempt in counted),
        _speed(pretrained[-1].directory / "metrics.jsonl") if pretrained else None,
        results.get("passages_per_second"),
        max((attempt.peak_gib for attempt in counted if attempt.peak_gib is not None), default=None),
        sum(energy) if energy else None,
        complete=all(record.complete for record in records),
    )
    packages = dict.fromkeys(name for record in records for name in record.versions)
    versions = {name: _together(record.versions.get(name) for record in records) for name in packages}
    return replace(origin, versions=versions, commit=_together(record.commit for record in records) or None)


def with_job(origin: Origin, job: dict[str, Any]) -> Origin:
    """The same work for another job, as several jobs of a sweep share it."""
    return replace(origin, job=_of_row(job, origin.job.get("seed") is not None, bool(origin.job.get("masks"))))


def _of_row(job: dict[str, Any], trained: bool, pretrained: bool) -> dict[str, Any]:
    """What is true of a row in the record of a job that has others too."""
    said = {name: value for name, value in job.items() if name != "config"}
    said |= {} if trained else dict.fromkeys(said.keys() & {"encoder", "seed"})
    return said | ({} if pretrained or "masks" not in said else {"masks": {}})


def _needed(directory: Path) -> list[_Made]:
    """A finished stage behind all that it depends on, each once; what was moved lies beside it."""
    found: dict[Path, _Made] = {}

    def visit(place: Path) -> None:
        if place in found or not (place / "manifest.json").is_file():
            return
        stage = _Made(place, read_json(place / "manifest.json"), read_record(place))
        for path in map(Path, filter(None, stage.context.get("inputs", {}).values())):
            visit(path if path.is_dir() else place.parent / path.name)
        found[place] = stage

    visit(directory)
    return list(found.values())


def _speed(log: Path) -> float | None:
    """Passages per second, the median of the last lines, so that neither the start nor a pause counts."""
    lines = log.read_text(encoding="utf-8").splitlines()[-TAIL:] if log.is_file() else []
    found = [line["passages_per_second"] for line in map(json.loads, lines) if "passages_per_second" in line]
    return median(found) if found else None


def _together(names: Iterable[str | None]) -> str:
    """Different ones in order of appearance."""
    return ", ".join(dict.fromkeys(filter(None, names)))
