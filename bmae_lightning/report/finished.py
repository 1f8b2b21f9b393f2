"""Finished runs by directory or fingerprint: what a report over runs that were not one sweep is made of."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bmae_lightning.report.along import AXES
from bmae_lightning.report.comparison import RESULT
from bmae_lightning.report.content import REPORT
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import read_json
from bmae_lightning.runtime.ledger import DONE, FAILED, Ledger
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
        failed: `overrides`, `name`, `state` and `reason` of those of sweeps that have no values.
    """

    jobs: list[dict[str, Any]] = field(default_factory=list)
    failed: list[dict[str, Any]] = field(default_factory=list)


def find_runs(given: Iterable[str], output_dir: Path) -> Runs:
    """The jobs of runs, sweeps, jobs of sweeps and report stages, each report once.

    Overrides stand in one order in all jobs, without those that say how a run is run; where two jobs have the same,
    their fingerprints tell them apart.

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
    found.jobs = list({job["nodes"]["report"]: job for job in reversed(found.jobs)}.values())[::-1]
    _tell_apart(found)
    return found


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
    if ledger := Ledger(directory).jobs():
        return _of_sweep(directory, ledger)
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


def _of_sweep(directory: Path, ledger: dict[int, dict[str, Any]]) -> Runs:
    """The finished jobs of a ledger, and the others with what became of them."""
    found = Runs()
    for number, job in ledger.items():
        place = directory / job.get("directory", str(number))
        if job["state"] == DONE and (place / RESULT).is_file():
            found.jobs.append(_of_job(place, directory))
        else:
            state = "failed" if job["state"] == FAILED else "not run"
            about = {"name": job.get("name"), "overrides": job.get("overrides", []), "state": state}
            found.failed.append(about | {"reason": job.get("reason") or "", "source": str(directory)})
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


def _tell_apart(found: Runs) -> None:
    """Bring overrides into one form."""
    everything: Sequence[dict[str, Any]] = [*found.jobs, *found.failed]
    order = list(dict.fromkeys(item for job in everything for item in job["overrides"]))
    for job in everything:
        own = set(job["overrides"])
        job["overrides"] = [item for item in order if item in own and not _RUNNING.match(item)]
    alike: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for job in found.jobs:
        alike.setdefault(tuple(job["overrides"]), []).append(job)
    for job in (job for jobs in alike.values() if len(jobs) > 1 for job in jobs):
        job["overrides"].append(f"fingerprint={str(job.get('fingerprint'))[:LEAST_DIGITS]}")
    found.failed = [job for job in found.failed if tuple(job["overrides"]) not in alike]
