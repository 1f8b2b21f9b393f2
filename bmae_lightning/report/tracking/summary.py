"""One run with all measures of a job, and one over all jobs of a sweep."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bmae_lightning.report.content import read_report
from bmae_lightning.report.tables import all_tables
from bmae_lightning.report.tracking.about import key_of
from bmae_lightning.report.tracking.loggers import Tracking, log_page, log_tables
from bmae_lightning.runtime.files import read_json
from bmae_lightning.runtime.process import print_once
from bmae_lightning.runtime.run_stage import MANIFEST, read_manifest
from bmae_lightning.runtime.stage import Context
from bmae_lightning.runtime.table import is_number


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


def measures_of(nodes: Mapping[str, Path], job: str) -> dict[str, float]:
    """The numbers that stages left, `evaluate/test/RR@10`; those of other arms are `evaluate@none/test/RR@10`.

    job: name of the arm of the job.
    """
    found = {}
    for key, directory in nodes.items():
        stage, _, arm = key.partition("@")
        if stage == "report":  # it repeats those of the others
            continue
        found |= {f"{key_of(stage, arm, job)}/{name}": value for name, value in _own(directory).items()}
    return found


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
