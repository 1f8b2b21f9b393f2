"""Finished runs by directory or fingerprint: what a report over runs that were not one sweep is made of."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bmae_lightning.report.along import AXES
from bmae_lightning.report.comparison import RESULT, ROW, without_values
from bmae_lightning.report.content import REPORT
from bmae_lightning.runtime import ledger
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import read_json
from bmae_lightning.runtime.run_stage import MANIFEST

LEAST_DIGITS = 6
_FINGERPRINT = re.compile(rf"[0-9a-f]{{{LEAST_DIGITS},}}")
_RUNNING = re.compile(
    r"\+{0,2}(output_dir|logger|trainer|stage|group|check|fail_fast|optimized_metric|hydra|report)\b", re.IGNORECASE
)
"""Overrides that say how a run is run and shown, not what it computes."""
EXAMPLE = f"give directories such as outputs/runs/<time>, or at least {LEAST_DIGITS} digits of fingerprints"
TO_REPEAT = "run its command again"


@dataclass
class Runs:
    """Jobs, each with the directory it was found in as `source`.

    Attributes:
        jobs: `overrides`, `nodes` (key -> directory), `places`, `fingerprint` and, where it is known, `job` of finished
            ones, a report each.
        failed: `overrides`, `name`, `state` and `reason` of those of sweeps that have no values; `row`: what is printed
            for them in a paper's table, None where nothing is.
    """

    jobs: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)


def find_runs(given: Iterable[str], output_dir: Path) -> Runs:
    """The jobs of runs, sweeps, jobs of sweeps and report stages, each once.

    As the jobs of a sweep do, all have a value of whatever any of them sets, if they know it, without overrides that
    say how a run is run; where two jobs have the same, their fingerprints tell them apart.

    Args:
        given: directories, or at least 6 digits with which the fingerprint of a job or of a report stage begins.
        output_dir: where fingerprints are searched for.

    Raises:
        BadInput: nothing is there, it has not finished, or digits with which several fingerprints begin.
    """
    directories = []
    for item in given:
        directory = Path(item).expanduser()
        directories.append(directory if directory.is_dir() else _by_fingerprint(item, output_dir))
    if not directories:
        raise BadInput(f"report.runs is empty: {EXAMPLE}")
    found = Runs()
    for directory in dict.fromkeys(directory.resolve() for directory in directories):
        part = _read(directory)
        found.jobs += part.jobs
        found.failed += part.failed
    found.jobs = list({_measured(job): job for job in reversed(found.jobs)}.values())[::-1]
    _complete(found)
    _tell_apart(found)
    return found


def _measured(job: dict[str, Any]) -> tuple[str, ...]:
    """The directories that a report is about, which is made again where only its own options change; else its own."""
    nodes = {key: place for key, place in job["nodes"].items() if key != "report"}
    return tuple(sorted(nodes.values())) or (job["nodes"]["report"],)


def _by_fingerprint(digits: str, output_dir: Path) -> Path:
    """The newest directory of the job, or report stage, whose fingerprint begins so."""
    if not _FINGERPRINT.fullmatch(digits):
        raise BadInput(f"report.runs: there is no directory {digits}; {EXAMPLE}")
    results = [path for kind in ("runs", "multirun") for path in (output_dir / kind).rglob(RESULT)]
    places = [(read_json(path).get("fingerprint") or "", path.parent) for path in results]
    places += [(path.name.rpartition("-")[2], path) for path in (output_dir / "store").glob(f"report-{digits}*")]
    fitting = [(whole, path) for whole, path in places if whole.startswith(digits)]
    if not fitting:
        raise BadInput(
            f"report.runs: no run that has finished in {output_dir} has a fingerprint that begins with {digits}; give "
            "its directory, or set output_dir=DIR"
        )
    if len(several := dict(fitting)) > 1:
        told = ", ".join(f"{whole} ({path})" for whole, path in several.items())
        raise BadInput(f"report.runs: several fingerprints begin with {digits}: {told}; give more digits")
    return max((path for _, path in fitting), key=lambda path: path.stat().st_mtime_ns)


def _read(directory: Path) -> Runs:
    """What lies in a directory: a sweep, a job or a report stage."""
    if jobs := ledger.Ledger(directory).jobs():
        return _of_sweep(directory, jobs)
    if (directory / RESULT).is_file():
        return Runs([_of_job(directory, directory)])
    if (directory / MANIFEST).is_file():
        return Runs([_of_stage(directory)])
    results = sorted(directory.glob(f"*/{RESULT}"), key=lambda path: (len(path.parent.name), path.parent.name))
    if not results:
        raise BadInput(
            f"report.runs: no run has finished in {directory} (it has no {RESULT}): {TO_REPEAT} to finish it, or give "
            "another directory"
        )
    return Runs([_of_job(path.parent, directory) for path in results])


def _of_sweep(directory: Path, jobs: dict[int, dict[str, Any]]) -> Runs:
    """The finished jobs of a ledger, and the others with what became of them."""
    found = Runs()
    for number, job in jobs.items():
        place = directory / job.get("directory", str(number))
        if job["state"] == ledger.DONE and (place / RESULT).is_file():
            found.jobs.append(_of_job(place, directory))
        else:
            row = read_json(place / ROW) if (place / ROW).is_file() else None
            found.failed.append(without_values(job) | {"source": str(directory), "row": row})
    if not found.jobs:
        raise BadInput(f"report.runs: no job of the sweep in {directory} has finished: {TO_REPEAT} to go on with it")
    return found


def _of_job(directory: Path, source: Path) -> dict[str, Any]:
    """A finished job; source: the directory of its sweep, or its own."""
    result = read_json(directory / RESULT)
    if not isinstance(result, dict) or not {"overrides", "nodes"} <= result.keys():
        raise BadInput(f"report.runs: {directory / RESULT} was written by another version: {TO_REPEAT} with this one")
    return result | {"nodes": _placed(result["nodes"], directory), "source": str(source)}


def _of_stage(directory: Path) -> dict[str, Any]:
    """The job whose report a stage has made."""
    manifest = read_json(directory / MANIFEST)
    context = manifest["context"]
    if not (directory / "done").is_file() or not (directory / REPORT).is_file():
        raise BadInput(
            f"report.runs: {directory} is no finished report but the stage {context['stage']}: give a directory "
            "store/report-…, or that of the run"
        )
    nodes = {key: path for key, path in context["inputs"].items() if path} | {"report": str(directory)}
    job = context.get("job") or {}
    return {
        "overrides": job.get("overrides", []), "nodes": _placed(nodes, directory), "job": job,
        "places": {axis: job.get("config", {}).get(axis) for axis in AXES}, "source": str(directory),
        "fingerprint": manifest["fingerprint"],
    }  # fmt: skip


def _placed(nodes: dict[str, str], directory: Path) -> dict[str, str]:
    """The directories of the nodes; where outputs were moved, beside this directory, below the store there."""
    stores = [parent / "store" for parent in directory.absolute().parents if (parent / "store").is_dir()]

    def place(node: str) -> str:
        moved = [store / Path(node).name for store in stores]
        return next((str(path) for path in (Path(node), *moved) if path.is_dir()), node)

    found = {key: place(node) for key, node in nodes.items()}
    if "report" not in found:
        raise BadInput(f"report.runs: the run in {directory} has made no report: {TO_REPEAT} with stage=[report]")
    if not (Path(found["report"]) / REPORT).is_file():
        raise BadInput(f"report.runs: {found['report']}, the report of {directory}, is gone: {TO_REPEAT}")
    return found


def _complete(found: Runs) -> None:
    """Bring overrides into one form: one order, all jobs with the value that counted of whatever any of them sets."""
    everything: Sequence[dict[str, Any]] = [*found.jobs, *found.failed]
    typed = [dict(item.partition("=")[::2] for item in job["overrides"]) for job in everything]
    keys = [key for key in dict.fromkeys(key for own in typed for key in own) if not _RUNNING.match(key)]
    values = [own | _effective(job, keys) for job, own in zip(everything, typed, strict=True)]
    for job, own in zip(found.failed, values[len(found.jobs) :], strict=True):  # as the others of its sweep agree
        others = [of for of, other in zip(values, found.jobs, strict=False) if other["source"] == job["source"]]
        for key in set(keys) - own.keys():
            if others and len({of.get(key) for of in others}) == 1 and key in others[0]:
                own[key] = others[0][key]
    for job, own in zip(everything, values, strict=True):
        job["overrides"] = [f"{key}={own[key]}" if own[key] else key for key in keys if key in own]


def _effective(job: dict[str, Any], keys: Sequence[str]) -> dict[str, str]:
    """Key -> the value that it had in a finished job: of options, and of the groups that its record names."""
    record = job.get("job") or {}
    found = {}
    for key in keys if record.get("config") else ():
        node = record["config"]
        for part in key.split("."):
            node = node.get(part) if isinstance(node, dict) and part in node else {}
        node = record.get(key) if isinstance(node, dict) else node if node is not None else "null"
        if node is not None and not isinstance(node, dict):
            found[key] = _text(node)
    return found


def _text(value: Any) -> str:
    """As it may be typed."""
    if isinstance(value, list):
        return f"[{','.join(map(_text, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _tell_apart(found: Runs) -> None:
    """Name the fingerprints of jobs that have the same overrides."""
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for job in found.jobs:
        alike.setdefault(tuple(job["overrides"]), []).append(job)
    for job in (job for jobs in alike.values() if len(jobs) > 1 for job in jobs):
        job["overrides"].append(f"fingerprint={str(job.get('fingerprint'))[:LEAST_DIGITS]}")
    found.failed = [job for job in found.failed if tuple(job["overrides"]) not in alike]
