"""The table of a paper, filled by the jobs of a sweep: ours, below it what is printed, rows printed only."""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bmae_lightning.report.content import row_name
from bmae_lightning.report.printed import (
    AVERAGE,
    BACKBONE,
    BENCHMARKS,
    PaperTable,
    PrintedColumn,
    Reference,
    check_results,
    read_row,
    stages_of,
)
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import read_json
from bmae_lightning.runtime.table import PAPER, REFERENCE, SUMMARY, Column, Table, first_line, is_number, read_tables

SUITE_MEASURE = "nDCG@10"
"""What papers print for the data sets of a benchmark."""
NOT_BERT = "its encoder is not a BERT and cannot be loaded yet"
ABOUT_GLUE = "Of a task with two measures ours is the first; the paper does not say which it prints."
Job = Mapping[str, Any]
"""`name` (of the arm), `paper_row`, `paper_results`, `collection`, `corpus`, `scale`, `requires`, `overrides`, and
where it has finished `nodes` (key -> directory)."""
Values = list[float | None]


class Line(NamedTuple):
    """A printed row: ours and the paper's values by column, as fractions; `digits` where not its table's."""

    label: str
    remarks: list[str]
    ours: Values
    paper: Values
    digits: int | None = None


def paper_table(about: PaperTable, jobs: Sequence[Job], rungs: Mapping[str, str]) -> Table:
    """The columns in the paper's order; jobs of one label fill one row, those that cannot run yet are references.

    rungs: stage -> what the head of its columns is called.
    """
    jobs = [job for job in jobs if _is_readable(job, rungs)]
    able = [job for job in jobs if job["requires"] != BACKBONE]
    refused = [(job, read_row(job["paper_row"], job["name"])) for job in jobs if job not in able]
    references = [
        Reference(label=label, why=NOT_BERT, values=_printed(about, job, stage), digits=row.digits)
        for job, row in refused
        for stage, label in row.labels().items()
    ]
    return filled(about, _lines(about, able), [*references, *about.references], rungs)


def filled(
    about: PaperTable, lines: Iterable[Line], references: Iterable[Reference], rungs: Mapping[str, str]
) -> Table:
    """The table of these rows, in its unit; below them the references, with their reasons as notes."""
    rows: list[list] = []
    marks: list[tuple[int, int, str]] = []
    reasons: dict[str, list[str]] = {}

    def printed(values: Values, digits: int | None) -> list[float | str | None]:
        return [value if None in (value, digits) else f"{value:.{digits}f}" for value in map(about.shown, values)]

    for line in lines:
        rows.append(["\n".join([line.label, *line.remarks]), *map(about.shown, line.ours)])
        if any(map(is_number, line.paper)):
            marks.append((len(rows), 0, PAPER))
            rows.append([PAPER, *printed(line.paper, line.digits)])
    below = len(rows)
    for row in references:
        reasons.setdefault(row.why, []).append(row.label)
        marks += [(len(rows), 0, REFERENCE)] + [(len(rows), 0, SUMMARY)] * (0 < len(rows) == below)
        rows.append([f"{row.label} (reference)", *printed(row.values, row.digits)])
    notes = [f"{', '.join(of)}: the paper's values alone; {why.rstrip('.')}." for why, of in reasons.items()]
    notes += [ABOUT_GLUE] * any(column.collection == "glue" for column in about.columns)
    heads = [column.head(f".{about.digits}f", about.unit != "milliseconds", rungs) for column in about.columns]
    title = about.title + f" ({about.unit})" * (about.unit != "fraction")
    return Table(title, [Column("row"), *heads], rows, marks, notes).with_best()


def _is_readable(job: Job, stages: Collection[str]) -> bool:
    """Whether its options have the right form; where not, the job was refused for that."""
    try:
        read_row(job["paper_row"], job["name"])
        check_results(job["paper_results"] or {}, stages)
    except (BadInput, ValueError):
        return False
    return True


def _labels(job: Job) -> Iterable[tuple[str, str]]:
    return read_row(job["paper_row"], job["name"]).labels().items()


def _lines(about: PaperTable, jobs: Sequence[Job]) -> list[Line]:
    """Rows in the order of the jobs; a second job of one label and one collection has a row of its own."""
    groups: dict[tuple[str, str, str], list[list[Job]]] = {}
    for job in jobs:
        for stage, label in _labels(job):
            alike = groups.setdefault((label, _telling(job, label, jobs), stage), [])
            fitting = (group for group in alike if all(other["collection"] != job["collection"] for other in group))
            if (group := next(fitting, None)) is None:
                alike.append(group := [])
            group.append(job)
    return [
        _line(about, f"{label} {telling}".strip(), stage, group)
        for (label, telling, stage), alike in groups.items()
        for group in alike
    ]


def _line(about: PaperTable, label: str, stage: str, group: Sequence[Job]) -> Line:
    def first(values: Callable[[Job], Values]) -> Values:
        columns = zip(*map(values, group), strict=True)
        return [next(filter(is_number, column), None) for column in columns]

    remarks = dict.fromkeys(remark for job in group for remark in _remarks(about, job))
    ours, paper = first(lambda job: _ours(about, job, stage)), first(lambda job: _printed(about, job, stage))
    return Line(label, list(remarks), ours, paper, read_row(group[0]["paper_row"], label).digits)


def _telling(job: Job, label: str, jobs: Sequence[Job]) -> str:
    """The overrides that tell a job from others of its label, apart from its YAML file and its collection."""
    alike = [set(other["overrides"]) for other in jobs if label in dict(_labels(other)).values()]
    common = set.intersection(*alike)
    return " ".join(o for o in job["overrides"] if o not in common and not re.match(r"\+\w+=|\+*corpus\b", o))


def _remarks(about: PaperTable, job: Job) -> Iterable[str]:
    """What keeps ours from being compared with what is printed."""
    wanted = {column.collection for column in about.columns} - set(BENCHMARKS)
    if "nodes" not in job:
        yield "no result: the job has not finished"
    if wanted and job["collection"] not in wanted:
        yield f"corpus={job['corpus']}: another collection, measured below"
    if job["scale"] != "paper":
        yield f"scale={job['scale']}: shows the path; not comparable"


def _stage(column: PrintedColumn, stage: str, job: Job) -> str:
    """Whose value stands in a column, empty where this row has none there; stage: of the row, if its label has one."""
    if column.stage and stage:
        return stage if stage == column.stage else ""
    return column.stage or stage or next(iter(stages_of(column, job["paper_results"] or {})), "")


def _printed(about: PaperTable, job: Job, stage: str) -> Values:
    results = job["paper_results"] or {}
    return [
        results.get(column.place, {}).get(_stage(column, stage, job), {}).get(column.measure)
        for column in about.columns
    ]


def _ours(about: PaperTable, job: Job, stage: str) -> Values:
    values = [_measured(job, column, _stage(column, stage, job)) for column in about.columns]
    for i, column in enumerate(about.columns):
        if column.measure == AVERAGE:  # of the data sets that the paper has
            parts = [v for v, other in zip(values, about.columns, strict=True)
                     if other.place == column.place and other.measure != AVERAGE]  # fmt: skip
            values[i] = sum(parts) / len(parts) if parts and all(map(is_number, parts)) else None
    return values


def _measured(job: Job, column: PrintedColumn, stage: str) -> float | None:
    """What a job measured, None where it did not, or on another collection."""
    nodes = job.get("nodes", {})
    directory = nodes.get(f"{stage}@{job['name']}") or nodes.get(stage)
    if directory is None or column.collection not in (*BENCHMARKS, job["collection"]):
        return None
    if column.collection in BENCHMARKS:
        return _of_benchmark(read_tables(Path(directory)), column.measure, job["name"])
    found = read_json(Path(directory) / "metrics.json").get(column.place.partition("/")[2])
    return found["mean"].get(column.measure) if isinstance(found, dict) else None


def _of_benchmark(tables: Sequence[Table], measure: str, arm: str) -> float | None:
    """By head of a column (a task), or by name of a row (a data set) in the column of the arm, or the only one."""
    for table in tables:
        heads = [first_line(column.group) or first_line(column.name) for column in table.columns]
        if measure in heads:
            return table.rows[0][heads.index(measure)]
        row = next((row for row in table.rows if row[0] == measure), None)
        if row and table.title.endswith(f" {SUITE_MEASURE}"):
            models = [i for i, column in enumerate(table.columns) if column.higher is not None]
            own = [i for i in models if f"{heads[i]} ".startswith(f"{row_name(arm, '')} ")]
            return row[(own or models)[-1]] if own or len(models) == 1 else None
    return None
