"""The table of a paper, filled by the jobs of a sweep: ours, below it what is printed, rows printed only, verdicts."""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from bmae_lightning.report.measured import Found, Job, measured_elsewhere, measured_values, printed_values
from bmae_lightning.report.printed import (
    BENCHMARKS,
    MILLISECONDS,
    UNITS,
    PaperTable,
    PrintedColumn,
    check_results,
    read_row,
)
from bmae_lightning.report.seeds import seed_of, setting
from bmae_lightning.report.verdict import ABOUT_ORDER, ORDER, SPREAD, VERDICTS, Value, order, together
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.mean import Mean, mean_of
from bmae_lightning.runtime.table import FAILED, NOT_RUN, PAPER, REFERENCE, SUMMARY, Column, Table, is_number

ABOUT_GLUE = "Of a task with two measures ours is the first; the paper does not say which it prints."
ABOUT_TIMES = "Times of another machine are not judged."


class Line(NamedTuple):
    """A printed row and its values by column; `digits` where not its table's."""

    label: str
    remarks: list[str]
    values: list[Value]
    digits: int | None = None


def paper_table(about: PaperTable, jobs: Sequence[Job], rungs: Mapping[str, str]) -> Table:
    """The columns in the paper's order; jobs of one label fill one row, those that cannot run yet are references.

    rungs: stage -> what the head of its columns is called.
    """
    lines, jobs = _lines(about, jobs, rungs), [job for job in jobs if _is_readable(job, rungs)]
    rows: list[list] = []
    marks: list[tuple[int, int, str]] = []
    for line in lines:
        cells = [value.state or about.shown(value.ours) for value in line.values]
        verdicts = [value.verdict(about.tolerances) for value in line.values]
        rows.append(["\n".join([line.label, *line.remarks]), *cells, together(verdicts)])
        if any(is_number(value.paper) for value in line.values):
            marks.append((len(rows), 0, PAPER))
            rows.append([PAPER, *_as_printed(about, [value.paper for value in line.values], line.digits), ""])
    notes = [_tolerances(about)] * any(word in str(row[-1]) for row in rows for word in VERDICTS)
    if rows:
        marks.append((len(rows), 0, SUMMARY))
        columns = [[line.values[i] for line in lines] for i in range(len(about.columns))]
        why = dict.fromkeys(value.why for column in columns for value in column if value.why and is_number(value.paper))
        rows.append([ORDER, *map(order, columns), "; ".join(f"not comparable: {reason}" for reason in why)])
        notes.append(ABOUT_ORDER)
    reasons: dict[str, list[str]] = {}
    for row in about.references:
        marks += [(len(rows), 0, REFERENCE)] + [(len(rows), 0, SUMMARY)] * (not reasons and len(rows) > 0)
        reasons.setdefault(row.why, []).append(row.label)
        rows.append([f"{row.label} (reference)", *_as_printed(about, row.values, row.digits), ""])
    notes += [f"{', '.join(of)}: the paper's values alone; {why.rstrip('.')}." for why, of in reasons.items()]
    notes += [ABOUT_GLUE] * any(column.collection == "glue" for column in about.columns)
    notes += [SPREAD] * any(isinstance(cell, Mean) for row in rows for cell in row)
    heads = [column.head(f".{about.digits}f", about.unit != MILLISECONDS, rungs) for column in about.columns]
    return Table(_title(about, ""), [Column("row"), *heads, Column("verdict")], rows, marks, notes).with_best()


def verdict_table(about: PaperTable, jobs: Sequence[Job], rungs: Mapping[str, str]) -> Table:
    """A line for each row and column that the paper prints: ours, the paper's, difference, tolerance and verdict."""
    form, rows = f".{about.digits}f", []
    for line in _lines(about, jobs, rungs):
        printed = _as_printed(about, [value.paper for value in line.values], line.digits)
        for column, value, paper in zip(about.columns, line.values, printed, strict=True):
            if is_number(value.paper):
                ours = value.state or about.shown(value.ours)
                bounds = " / ".join(f"{about.shown(bound):g}" for bound in about.tolerances.bounds(value.wide))
                rows.append([
                    line.label, column.head("", rungs=rungs).key, ours, paper, about.shown(value.difference),
                    bounds if is_number(value.ours) and about.unit != MILLISECONDS else "",
                    value.verdict(about.tolerances),
                ])  # fmt: skip
    heads = ["row", "column", Column("ours", form), Column("paper's", form), Column("difference", f"+{form}")]
    notes = [_tolerances(about)] + [SPREAD] * any(isinstance(row[2], Mean) for row in rows)
    columns = [*heads, "tolerance\nOK / OKish", "verdict"]
    return Table(_title(about, ": ours against the paper's"), columns, rows, notes=notes)


def _tolerances(about: PaperTable) -> str:
    return ABOUT_TIMES if about.unit == MILLISECONDS else about.tolerances.about(UNITS[about.unit])


def _title(about: PaperTable, more: str) -> str:
    return about.title + more + f" ({about.unit})" * (about.unit != "fraction")


def _as_printed(about: PaperTable, values: Sequence[float | None], digits: int | None) -> list[float | str | None]:
    return [value if None in (value, digits) else f"{value:.{digits}f}" for value in map(about.shown, values)]


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


def _lines(about: PaperTable, jobs: Sequence[Job], rungs: Mapping[str, str]) -> list[Line]:
    """Rows in the order of the jobs that can run.

    Jobs of one label fill one row where they are of several collections, or of several seeds and else alike; any other
    has a row of its own.
    """
    jobs = [job for job in jobs if _is_readable(job, rungs)]
    groups: dict[tuple[str, str, str], list[list[Job]]] = {}
    for job in jobs:
        for stage, label in _labels(job):
            alike = groups.setdefault((label, _telling(job, label, jobs), stage), [])
            fitting = (group for group in alike if all(_may_share(job, other) for other in group))
            if (group := next(fitting, None)) is None:
                alike.append(group := [])
            group.append(job)
    return [
        _line(about, f"{label} {telling}".strip(), stage, group)
        for (label, telling, stage), alike in groups.items()
        for group in alike
    ]


def _may_share(job: Job, other: Job) -> bool:
    """Whether two jobs of a label may fill one row."""
    return job["collection"] != other["collection"] or (
        seed_of(job) != seed_of(other) and setting(job) == setting(other)
    )


def _telling(job: Job, label: str, jobs: Sequence[Job]) -> str:
    """The overrides that tell a job from others of its label, apart from its YAML file, its collection and its seed."""
    alike = [set(other["overrides"]) for other in jobs if label in dict(_labels(other)).values()]
    common = set.intersection(*alike)
    return " ".join(o for o in setting(job) if o not in common and not re.match(r"\+[\w/]+=|\+*corpus\b", o))


def _line(about: PaperTable, label: str, stage: str, group: Sequence[Job]) -> Line:
    ours = zip(*(measured_values(about.columns, job, stage) for job in group), strict=True)
    printed = zip(*(printed_values(about.columns, job, stage) for job in group), strict=True)
    paper = [next(filter(is_number, column), None) for column in printed]
    values = []
    for column, found, value in zip(about.columns, ours, paper, strict=True):
        made = _mean(about, column, group, found) or _missing(about, column, group, stage)
        missed = is_number(value) or not any(map(is_number, paper))
        values.append(made._replace(paper=value, state=made.state if missed else ""))
    seeds = max((value.ours.runs for value in values if isinstance(value.ours, Mean)), default=1)
    remarks = [f"mean of {seeds} seeds"] * (seeds > 1)
    remarks += [remark for job in group for remark in _remarks(about, job, group)]
    return Line(label, list(dict.fromkeys(remarks)), values, read_row(group[0]["paper_row"], label).digits)


def _mean(
    about: PaperTable, column: PrintedColumn, group: Sequence[Job], found: Sequence[Found | None]
) -> Value | None:
    """Of the jobs that measured a column on one collection, which differ in their seeds; None where none did."""
    measured = [(job, own) for job, own in zip(group, found, strict=True) if own]
    alike = [(job, own) for job, own in measured if job["collection"] == measured[0][0]["collection"]]
    if not alike:
        return None
    runs = {own.directory: own for _, own in alike}.values()
    few = any(own.queries is not None and own.queries < about.tolerances.few for own in runs)
    why = _why(about, column, [job for job, _ in alike])
    return Value(mean_of([own.value for own in runs]), why=why, wide=few or column.collection == "glue")


def _missing(about: PaperTable, column: PrintedColumn, group: Sequence[Job], stage: str) -> Value:
    """What is known of a column that none of the jobs of a row has measured."""
    wanted = {other.collection for other in about.columns}
    here = [job for job in group if column.collection in (*BENCHMARKS, job["collection"])]
    here = here or [job for job in group if job["collection"] not in wanted]
    states = [_state(job) for job in here]
    state = "" if not all(states) else FAILED if FAILED in states else NOT_RUN if states else ""
    why = _why(about, column, here or group)
    return Value(state=state, why=why, elsewhere=measured_elsewhere(column, group, stage))


def _why(about: PaperTable, column: PrintedColumn, jobs: Sequence[Job]) -> str:
    """What keeps the values of these jobs from being compared with what is printed."""
    reasons = ["another machine"] * (about.unit == MILLISECONDS)
    reasons += [f"scale={job['scale']}" for job in jobs if job["scale"] != "paper"]
    own = (*BENCHMARKS, *(job["collection"] for job in jobs))
    reasons += [f"corpus={job['corpus']}" for job in jobs if column.collection not in own]
    return ", ".join(dict.fromkeys(reasons))


def _state(job: Job) -> str:
    return "" if "nodes" in job else job.get("state") or NOT_RUN


def _remarks(about: PaperTable, job: Job, group: Sequence[Job]) -> Iterable[str]:
    """What has to be said of a job of a row: why it has no values, where they are, how many seeds there are."""
    wanted = {column.collection for column in about.columns} - set(BENCHMARKS)
    which = " ".join(o for o in job["overrides"] if not all(o in other["overrides"] for other in group))
    if (state := _state(job)) and (which or job.get("reason")):
        yield f"{state} {which and f'({which})'}".strip() + (f": {job['reason']}" if job.get("reason") else "")
    if wanted and job["collection"] not in wanted:
        yield f"corpus={job['corpus']}: another collection, measured below"
