"""Jobs of a sweep that differ in their seed alone are runs of one setting; its row shows their means."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from bmae_lightning.report.content import Curve
from bmae_lightning.runtime.mean import mean_of
from bmae_lightning.runtime.table import BEST_OF_COLUMN, BEST_OF_ROW, PUBLISHED, Table, first_line, is_number

SEED = "seed="
Job = Mapping[str, Any]


def seed_of(job: Job) -> str:
    """The override `seed=…` of a job, empty where it has none."""
    return next((item for item in map(_plain, job["overrides"]) if item.startswith(SEED)), "")


def setting(job: Job) -> tuple[str, ...]:
    """The other overrides of a job."""
    return tuple(item for item in job["overrides"] if not _plain(item).startswith(SEED))


def by_setting(jobs: Iterable[Job]) -> list[list[Job]]:
    """The jobs of each setting, in order of their seeds; settings in the order of their first jobs.

    A second job of one setting and one seed is a setting of its own.
    """
    found: dict[tuple[str, ...], list[dict[str, Job]]] = {}
    for job in jobs:
        alike, seed = found.setdefault(setting(job), []), seed_of(job)
        if (free := next((group for group in alike if seed not in group), None)) is None:
            alike.append(free := {})
        free[seed] = job
    return [sorted(group.values(), key=_number) for alike in found.values() for group in alike]


def settings_of(jobs: Sequence[Job]) -> list[dict[str, Any]]:
    """Every setting as a job: `overrides` without the seed, its `jobs`, and `nodes`: key -> directories.

    The directories are those of all seeds, in their order, one where the seed changes nothing. Settings that share the
    node of one seed share those of all, though one of them lacks a seed.
    """
    groups = by_setting(jobs)
    nodes: list[dict[str, tuple[str, ...]]] = [{} for _ in groups]
    for key in dict.fromkeys(key for job in jobs for key in job["nodes"]):
        shared: list[dict[str, tuple[int, str]]] = []
        for group in groups:
            own = {job["nodes"][key]: _number(job) for job in reversed(group) if key in job["nodes"]}
            joined = [other for other in shared if own.keys() & other.keys()]
            shared = [other for other in shared if other not in joined]
            for other in joined:
                own |= other
            shared.append(own)
        for group, found in zip(groups, nodes, strict=True):
            if directory := next((job["nodes"][key] for job in group if key in job["nodes"]), None):
                (runs,) = (runs for runs in shared if directory in runs)
                found[key] = tuple(sorted(runs, key=runs.__getitem__))
    return [
        {"overrides": list(setting(group[0])), "nodes": found, "jobs": group}
        for group, found in zip(groups, nodes, strict=True)
    ]


def mean_table(table: Table, runs_of: Callable[[str], Sequence[Table]]) -> Table:
    """The table with means over runs in its cells.

    runs_of: name of a row -> the same table of every run of this row, which may lack it.
    """
    rows, names, published = [], [first_line(row[0]) for row in table.rows], table.marked(*PUBLISHED)
    for i, row in enumerate(table.rows):
        place = names[i], names[:i].count(names[i])
        alike = [found for run in runs_of(row[0]) for found in _rows_at(run, *place)]
        if len(alike) < 2 or i in published:
            rows.append(row)
            continue
        name = row[0] if all(other[0] == row[0] for other in alike) else names[i]
        rows.append((name, *map(_mean, zip(*(other[1:] for other in alike), strict=True))))
    meanings = {meaning for *_, meaning in table.marks}
    found = replace(table, rows=tuple(rows))
    return found.with_best(BEST_OF_ROW in meanings) if meanings & {BEST_OF_ROW, BEST_OF_COLUMN} else found


def mean_curve(curves: Sequence[Curve]) -> Curve:
    """One curve over runs: at every x the mean of those that have it; the title says of how many."""
    if len(curves) == 1:
        return curves[0]
    series: dict[str, dict[float, list[float]]] = {}
    for curve in curves:
        for name, points in curve.series.items():
            for x, y in points:
                series.setdefault(name, {}).setdefault(x, []).append(y)
    means = {name: [(x, sum(ys) / len(ys)) for x, ys in sorted(at.items())] for name, at in series.items()}
    return replace(curves[0], title=f"{curves[0].title}, mean of {len(curves)} seeds", series=means)


def _rows_at(table: Table, name: str, number: int) -> list[tuple[Any, ...]]:
    """The row that is the so-manyth of its name, or none."""
    return [row for row in table.rows if first_line(row[0]) == name][number : number + 1]


def _mean(values: tuple[Any, ...]) -> Any:
    if all(value == values[0] for value in values) and not isinstance(values[0], float):
        return values[0]
    return mean_of(values) if all(map(is_number, values)) else None


def _plain(override: str) -> str:
    return override.lstrip("+")


def _number(job: Job) -> tuple[int, str]:
    value = seed_of(job).removeprefix(SEED)
    return int(value) if value.isdigit() else -1, value
