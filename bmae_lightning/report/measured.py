"""What the jobs of a sweep measured, by column of a printed table."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bmae_lightning.report.content import row_name
from bmae_lightning.report.printed import AVERAGE, BENCHMARKS, PrintedColumn, stages_of
from bmae_lightning.runtime.files import read_json
from bmae_lightning.runtime.mean import mean_of
from bmae_lightning.runtime.table import Table, first_line, is_number, read_tables

SUITE_MEASURE = "nDCG@10"
"""What papers print for the data sets of a benchmark."""
Job = Mapping[str, Any]
"""`name` (of the arm), `paper_row`, `paper_results`, `collection`, `corpus`, `scale`, `overrides`; where it
has finished `nodes` (key -> directory), else `state` (`failed` or `not run`) and its `reason`."""


class Found(NamedTuple):
    """What a job measured for a column: the value, where that lies, and over how many queries."""

    value: float
    directory: str
    queries: float | None = None


def stage_in(column: PrintedColumn, stage: str, job: Job) -> str:
    """Whose value stands in a column, empty where this row has none there; stage: of the row, if its label has one."""
    if column.stage and stage:
        return stage if stage == column.stage else ""
    return column.stage or stage or next(iter(stages_of(column, job["paper_results"] or {})), "")


def printed_values(columns: Sequence[PrintedColumn], job: Job, stage: str) -> list[float | None]:
    """By column; stage: of the row, if its label has one."""
    results = job["paper_results"] or {}
    return [
        results.get(column.place, {}).get(stage_in(column, stage, job), {}).get(column.measure) for column in columns
    ]


def measured_values(columns: Sequence[PrintedColumn], job: Job, stage: str) -> list[Found | None]:
    """By column, None where the job did not measure it, or on another collection."""
    found = [_measured(job, column, stage_in(column, stage, job)) for column in columns]
    for i, column in enumerate(columns):
        if column.measure == AVERAGE:  # of the data sets that the paper has
            parts = [f for f, other in zip(found, columns, strict=True)
                     if other.place == column.place and other.measure != AVERAGE]  # fmt: skip
            known = parts and all(parts)
            found[i] = Found(sum(part.value for part in parts) / len(parts), parts[0].directory) if known else None
    return found


def _directory(job: Job, stage: str) -> str | None:
    nodes = job.get("nodes", {})
    return nodes.get(f"{stage}@{job['name']}") or nodes.get(stage)


def _measured(job: Job, column: PrintedColumn, stage: str) -> Found | None:
    """What a job measured, None where it did not, or on another collection."""
    directory = _directory(job, stage)
    if directory is None or column.collection not in (*BENCHMARKS, job["collection"]):
        return None
    if column.collection in BENCHMARKS:
        value, queries = _of_benchmark(read_tables(Path(directory)), column.measure, job["name"])
    else:
        found = read_json(Path(directory) / "metrics.json").get(column.place.partition("/")[2])
        value, queries = (found["mean"].get(column.measure), found["queries"]) if isinstance(found, dict) else (None, 0)
    return Found(value, directory, queries) if is_number(value) else None


def _of_benchmark(tables: Sequence[Table], measure: str, arm: str) -> tuple[float | None, float | None]:
    """By head of a column (a task), or by name of a row (a data set) in the column of the arm, or the only one.

    Returns the value, and over how many queries it is where that is told.
    """
    for table in tables:
        heads = [first_line(column.group) or first_line(column.name) for column in table.columns]
        if measure in heads:
            return table.rows[0][heads.index(measure)], None
        row = next((row for row in table.rows if row[0] == measure), None)
        if row and table.title.endswith(f" {SUITE_MEASURE}"):
            models = [i for i, column in enumerate(table.columns) if column.higher is not None]
            own = [i for i in models if f"{heads[i]} ".startswith(f"{row_name(arm, '')} ")]
            return row[(own or models)[-1]] if own or len(models) == 1 else None, row[heads.index("queries")]
    return None, None


def measured_elsewhere(column: PrintedColumn, jobs: Sequence[Job], stage: str) -> tuple[str, float] | None:
    """The corpus of the jobs, and what they measured on its first split that has this measure."""
    found: dict[str, dict[str, float]] = {}
    for job in jobs if column.collection not in BENCHMARKS else ():
        directory = _directory(job, stage_in(column, stage, job))
        for of in read_json(Path(directory) / "metrics.json").values() if directory else ():
            mean = of.get("mean", {}) if isinstance(of, dict) else {}
            if is_number(value := mean.get(column.measure, mean.get(column.measure.removeprefix("answer_")))):
                found.setdefault(job["corpus"], {}).setdefault(directory, value)
    corpus = next(iter(found), None)
    return corpus and (corpus, mean_of(list(found[corpus].values())))
