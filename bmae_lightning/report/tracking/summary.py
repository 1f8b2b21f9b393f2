"""One run with all measures of a job, and one over all jobs of a sweep."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bmae_lightning.report.content import read_report
from bmae_lightning.report.tables import all_tables
from bmae_lightning.report.tracking.about import COMPARISON, facts_of, key_of
from bmae_lightning.report.tracking.loggers import Tracking, log_page, log_table, log_tables
from bmae_lightning.runtime.files import read_json
from bmae_lightning.runtime.node_key import arm_of, stage_of
from bmae_lightning.runtime.process import print_once
from bmae_lightning.runtime.run_stage import MANIFEST, read_manifest
from bmae_lightning.runtime.stage import Context
from bmae_lightning.runtime.table import is_number

Job = Mapping[str, Any]
KNOWN = ("method", "experiment", "encoder", "scale", "corpus", "recipe", "reading", "seed")
"""What the table of jobs says of each, beside its masks and what else varies."""
RATE = ".mask.rate"
"""How the override of a mask's rate ends."""


def track_job(tracking: Tracking, context: Context, nodes: Mapping[str, Path]) -> None:
    """Log what the stages of a finished job have measured, and its report; then say in a line where that is.

    Args:
        context: of the job, with JOB for its stage.
        nodes: key of a stage -> its directory.
    """
    measured: dict[str, Path | None] = {key: directory for key, directory in nodes.items() if _measured(directory)}
    with tracking.of(replace(context, inputs=measured)) as loggers:
        for logger in loggers:
            logger.log_metrics(measures_of(nodes, context.arm), step=0)
        if report := nodes.get("report"):
            log_tables(loggers, all_tables(read_report(report / "report.json")))
            log_page(loggers, "report", report / "report.html")
    manifests = [directory / MANIFEST for directory in nodes.values()]
    stages = [replace(read_manifest(path)[0], group=context.group) for path in manifests if path.is_file()]
    if line := tracking.told([*stages, context]):
        print_once(line)


def track_sweep(tracking: Tracking, directory: Path, output_dir: Path, command: str, jobs: Sequence[Job]) -> None:
    """Log the jobs of a sweep, failed ones too, as a table, and its page; then say in a line where that is.

    Args:
        directory: of the sweep, with its report.json and report.html where there are any.
        output_dir: of all outputs.
        command: that made the sweep.
        jobs: what is known of each: `state`, `overrides`, `reason` and `seconds` from the ledger, and from the
            result.json of a job that is done `job` and `nodes`.
    """
    facts = [facts_of(job["job"]) if "job" in job else _told(job.get("overrides") or []) for job in jobs]
    common = {
        key: value for key, value in (facts[0] if facts else {}).items() if all(f.get(key) == value for f in facts)
    }
    states = Counter(job["state"] for job in jobs)
    about = {key: value for key, value in common.items() if key not in ("name", "config", "command", "overrides")}
    known = about | {"command": command, "jobs": dict(states), "varies": varying(facts)}
    group = next((f["group"] for f in facts if "group" in f), directory.name)
    nodes = [{key: Path(path) for key, path in job.get("nodes", {}).items()} for job in jobs]
    inputs = {str(path): path for of in nodes for path in of.values() if _measured(path)}
    context = Context(
        COMPARISON, "", directory / f"{COMPARISON}-{directory.name}", dict(inputs), group, output_dir, job=known
    )  # fmt: skip
    with tracking.of(context) as loggers:
        for logger in loggers:
            logger.log_metrics({f"jobs/{state}": count for state, count in states.items()})
        log_table(loggers, "sweep", *_rows(jobs, facts, nodes))
        if (directory / "report.json").is_file():
            log_tables(loggers, all_tables(read_report(directory / "report.json")))
        log_page(loggers, "report", directory / "report.html")
    if line := tracking.told([context]):
        print_once(line)


def _told(overrides: list[str]) -> dict[str, Any]:
    """What the overrides of a job say that left no record."""
    given = {key: value for key, _, value in (item.lstrip("+").partition("=") for item in overrides)}
    rates = {key.removesuffix(RATE).replace(".", "/"): value for key, value in given.items() if key.endswith(RATE)}
    known = {key: value for key, value in given.items() if key in KNOWN}
    return known | {f"masks/{part}/rate": value for part, value in rates.items()}


def varying(facts: Sequence[Mapping[str, Any]]) -> list[str]:
    """What one plots by: keys of plain values in which the jobs differ."""
    told = {"name", "group", "command", "fingerprint", "commit", "fail_fast"}
    keys = dict.fromkeys(key for f in facts for key, value in f.items() if not isinstance(value, dict | list))
    return [key for key in keys if key not in told and len({str(f[key]) for f in facts if key in f}) > 1]


def _rows(
    jobs: Sequence[Job], facts: list[dict[str, Any]], nodes: list[dict[str, Path]]
) -> tuple[list[str], list[list]]:
    """Columns and rows of the table of jobs: what became of them, what they are, what they measured."""
    measured = [measures_of(of, fact.get("name", "")) for of, fact in zip(nodes, facts, strict=True)]
    told = dict.fromkeys([*KNOWN, *(key for f in facts for key in f if key.startswith("masks/")), *varying(facts)])
    measures = dict.fromkeys(key for of in measured for key in of)
    first = [
        [
            number, job["state"], " ".join(o for o in job.get("overrides") or [] if not o.startswith("group=")),
            job.get("reason") or "", job.get("seconds"),
        ]
        for number, job in enumerate(jobs)
    ]  # fmt: skip
    rows = [
        [*start, *(fact.get(key) for key in told), *(of.get(key) for key in measures)]
        for start, fact, of in zip(first, facts, measured, strict=True)
    ]
    return ["job", "state", "overrides", "reason", "seconds", *told, *measures], rows


def measures_of(nodes: Mapping[str, Path], job: str) -> dict[str, float]:
    """The numbers that stages left, `evaluate/test/RR@10`; those of other arms are `evaluate@none/test/RR@10`.

    job: name of the arm of the job.
    """
    found = {}
    for key, directory in nodes.items():
        stage, arm = stage_of(key), arm_of(key)
        if stage == "report":  # it repeats those of the others
            continue
        found |= {f"{key_of(stage, arm, job)}/{name}": value for name, value in _own(directory).items()}
    return found


def headline_measures(jobs: Iterable[Job]) -> list[str]:
    """The first measure of each ranking stage and split that depend on what the jobs vary, as keys of their runs."""
    found: dict[str, str] = {}
    for job in jobs:
        measured = {key: Path(path) for key, path in job["nodes"].items() if _measured(Path(path))}
        arm = job["job"]["name"]
        own = {key: path for key, path in measured.items() if key.endswith(f"@{arm}")}
        for name in measures_of(own or measured, arm):
            place, _, measure = name.rpartition("/")
            if "/" in place and "@" not in place:
                found.setdefault(place, f"{place}/{measure}")
    return list(found.values())


def _results(directory: Path) -> dict[str, Any]:
    return read_json(directory / "metrics.json") if (directory / "metrics.json").is_file() else {}


def _measured(directory: Path) -> bool:
    """Whether a stage has measured a ranking."""
    return any(isinstance(value, dict) and "mean" in value for value in _results(directory).values())


def _own(directory: Path) -> dict[str, float]:
    """The numbers in the metrics.json of a stage, measures of a split as `test/RR@10`."""
    found = {}
    for name, value in _results(directory).items():
        if isinstance(value, dict) and isinstance(value.get("mean"), dict):
            found |= {f"{name}/{measure}": mean for measure, mean in value["mean"].items()}
        elif is_number(value) and name != "step":
            found[name] = value
    return found
