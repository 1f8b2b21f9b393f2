"""A sweep as one experiment: one W&B group for all of its jobs, and at its end one table and one page over them."""

import hashlib
import json
import os
import re
import shutil
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

UNNAMED = ("output_dir=", "logger", "trainer", "stage=")
"""Overrides that say how a sweep is run, not what it runs over."""
LONGEST_GROUP, LONGEST_REASON = 80, 120
CHECKED = "bmae_lightning-check-"
"""What the name of the directory begins with that a sweep is given where nothing runs."""
ROW, RESULT = "row.json", "result.json"
"""What a job of a sweep leaves in its directory: the printed row that it is, and at its end what it has run."""
KEPT = ("name", "paper_row", "paper_results")


def forget_checks(config: Any) -> None:
    """Print what the jobs would take (`check=true`), and remove the directory that Hydra was given for them."""
    from bmae_lightning.report.forecast import print_forecasts

    print_forecasts()
    directory = Path(config.hydra.sweep.dir)
    if config.check and directory.name.startswith(CHECKED):
        shutil.rmtree(directory, ignore_errors=True)


def keep_row(config: Any) -> None:
    """Keep what is printed for a job of a printed table in its directory, whatever becomes of the job."""
    from omegaconf import OmegaConf

    from bmae_lightning.runtime.files import write_json
    from bmae_lightning.runtime.process import process_rank

    if config.paper_table is not None and not config.check and process_rank() == 0:
        row = OmegaConf.to_container(OmegaConf.masked_copy(config, KEPT))
        choices = config.hydra.runtime.choices
        row |= {"collection": config.corpus.get("collection"), "corpus": choices.corpus, "scale": choices.scale}
        row["overrides"] = list(config.hydra.overrides.task)
        write_json(Path(config.hydra.runtime.output_dir) / ROW, row)


def unreadable(directory: Path, jobs: dict[int, dict[str, Any]]) -> dict[int, str]:
    """Number of a finished job whose report cannot be read -> why, which must not cost the comparison of the others."""
    from bmae_lightning.report.content import REPORT, read_report
    from bmae_lightning.runtime.errors import BadInput
    from bmae_lightning.runtime.ledger import DONE

    found = {}
    for number, job in jobs.items():
        nodes = (_left(directory, job, RESULT) or {"nodes": {}})["nodes"] if job["state"] == DONE else {}
        try:
            if "report" in nodes:
                read_report(Path(nodes["report"]) / REPORT)
        except BadInput as error:
            found[number] = str(error)
    return found


def compare_jobs(directory: Path, config: Any, jobs: dict[int, dict[str, Any]], command: str) -> None:
    """Write report.html, report.json and tables/ of a sweep into its directory and print the tables.

    config: of the sweep.  jobs: of its ledger.  command: which repeats it.
    """
    from omegaconf import OmegaConf

    from bmae_lightning.report.sweep import compare
    from bmae_lightning.runtime import ledger
    from bmae_lightning.runtime.table import print_tables, print_text

    done = {number: job for number, job in jobs.items() if job["state"] == ledger.DONE}
    left = {number: _left(directory, job, RESULT) for number, job in done.items()}
    results = {number: result | {"number": number} for number, result in left.items() if result}
    about = jobs_table(jobs)
    without = [without_values(job) | {"number": number} for number, job in jobs.items() if number not in done]
    printed, verdicts = printed_tables(config, directory, jobs, results)
    title = f"comparison: {config.group or sweep_group(list(config.hydra.overrides.task))}"
    reference = OmegaConf.select(config, "report.reference")
    compare(list(results.values()), directory, title, printed, verdicts, about, without, reference)
    if len(done) < len(jobs):
        print_tables([about])
    print_text(in_short(jobs) + "\n")
    _track(directory, config, [job | results.get(number, {}) for number, job in jobs.items()], command)


def without_values(job: dict[str, Any]) -> dict[str, Any]:
    """What a report tells of a job of a ledger that has not finished."""
    from bmae_lightning.runtime import ledger
    from bmae_lightning.runtime.table import FAILED, NOT_RUN

    state = FAILED if job["state"] == ledger.FAILED else NOT_RUN
    told = {key: job.get(key) for key in ("name", "overrides", "places", "collection")}
    return told | {"state": state, "reason": job.get("reason") or ""}


def _track(directory: Path, config: Any, jobs: list[dict[str, Any]], command: str) -> None:
    """Log the sweep where its jobs are logged."""
    from omegaconf import OmegaConf

    from bmae_lightning.report.tracking.summary import track_sweep
    from bmae_lightning.runtime.configuration import build

    tracking = build(OmegaConf.to_container(config.logger, resolve=True), "logger")
    track_sweep(tracking, directory, Path(config.output_dir).absolute(), command, jobs)


def in_short(jobs: dict[int, dict[str, Any]]) -> str:
    """`6 jobs: 4 done, 2 failed`."""
    states = Counter(job["state"] for job in jobs.values())
    return f"{len(jobs)} jobs: " + ", ".join(f"{states[state]} {state}" for state in sorted(states))


def jobs_table(jobs: dict[int, dict[str, Any]]) -> Any:
    """A row for each job of a ledger: what became of it, what tells it from the others, time, exit code, reason."""
    from bmae_lightning.runtime.table import Column, Table

    common = set.intersection(*(set(job["overrides"]) for job in jobs.values())) if len(jobs) > 1 else set()
    columns = ["job", "state", "varies", Column("seconds", ",.1f"), Column("exit code", "d"), "reason"]
    rows = [
        [
            str(number), job["state"], " ".join(item for item in job["overrides"] if item not in common),
            job.get("seconds"), job.get("code"), textwrap.shorten(job.get("reason") or "", LONGEST_REASON),
        ]
        for number, job in jobs.items()
    ]  # fmt: skip
    return Table("Jobs", columns, rows)


def _left(directory: Path, job: dict[str, Any], name: str) -> dict[str, Any] | None:
    """A file of this name in the directory of a job, None where there is none."""
    file = directory / job["directory"] / name
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None


def printed_tables(
    config: Any, directory: Path, jobs: dict[int, dict[str, Any]], results: dict[int, dict[str, Any]]
) -> tuple[list[Any], list[Any]]:
    """The table of the paper, and that of the verdicts, where the sweep is of one and its jobs make reports.

    results: of the jobs that are done.
    """
    from omegaconf import OmegaConf

    from bmae_lightning.report.paper_table import paper_table, verdict_table
    from bmae_lightning.report.printed import read_table
    from bmae_lightning.runtime.errors import BadInput
    from bmae_lightning.runtime.ledger import FAILED

    rows = {number: row for number, job in jobs.items() if (row := _left(directory, job, ROW))}
    if not rows or (results and not any("report" in job["nodes"] for job in results.values())):
        return [], []
    try:
        about = read_table(OmegaConf.to_container(config.paper_table))
    except BadInput:  # every job has said it
        return [], []
    stages = {name: node for name, node in config.items() if OmegaConf.is_dict(node) and "inputs" in node}
    rungs = {name: node.get("shown_as") or node.inputs.get("retriever") or name for name, node in stages.items()}
    for number, row in rows.items():
        if number in results:
            row["nodes"] = results[number]["nodes"]
        elif jobs[number]["state"] == FAILED:
            row |= {"state": "failed", "reason": jobs[number]["reason"]}
    made = about, list(rows.values()), rungs
    return [paper_table(*made)], [verdict_table(*made)]


def sweep_group(overrides: list[str]) -> str:
    """A name that says what a sweep runs over, its seeds first, the same whenever it is started; at most 80 characters.

    The variable WANDB_RUN_GROUP may name it.

    Args:
        overrides: of the command, with all choices as they stand there.
    """
    told = [item.lstrip("+") for item in overrides if not item.lstrip("+").startswith(UNNAMED)]
    told.sort(key=lambda item: not item.startswith("seed="))
    name = re.sub(r"[/\\'\"]", "-", os.environ.get("WANDB_RUN_GROUP") or " ".join(told)) or "sweep"
    if len(name) <= LONGEST_GROUP:
        return name
    return f"{name[: LONGEST_GROUP - 9]} {hashlib.sha256(name.encode()).hexdigest()[:8]}"
