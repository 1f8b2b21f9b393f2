"""One report over the jobs of a sweep: shared arms stand once, the others under the overrides that tell them apart."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bmae_lightning.report.along import curves_along, difference
from bmae_lightning.report.content import (
    PRINTED,
    Arm,
    Curve,
    Diagnosis,
    Report,
    pretraining_of,
    read_report,
    write_report,
)
from bmae_lightning.report.page import write_html
from bmae_lightning.report.render import write_table_files
from bmae_lightning.report.tables import all_tables, merged, paired_tests, print_report, renamed
from bmae_lightning.runtime.table import SUMMARY, Column, Table


def compare(
    jobs: list[dict[str, Any]], directory: Path, title: str = "comparison", printed: Sequence[Table] = (),
    about: Table | None = None, failed: Sequence[Mapping[str, Any]] = (),
) -> None:  # fmt: skip
    """One report over jobs; an arm that several jobs share (BM25, no pre-training) stands once.

    Args:
        jobs: `overrides`, `nodes` (key -> directory) and `places` (see `curves_along`) of every finished job.
        directory: where report.html, report.json and tables/ go.
        title: of the report.
        printed: tables of a paper, filled by these jobs, which stand first.
        about: what became of all jobs of the sweep.
        failed: `name`, `overrides`, `places`, `state` ("failed" or "not run") and `reason` of each that is not done.
    """
    jobs = [job for job in jobs if "report" in job["nodes"]]
    parts = [read_report(Path(job["nodes"]["report"]) / "report.json") for job in jobs]
    arms, tables = _arms(jobs, parts), _tables(jobs, parts)
    if printed:
        tables = {stage: of for stage, of in tables.items() if stage != PRINTED}
    if not arms and not tables and not printed and about is None:
        return
    curves, diagnoses = _of_pretraining(jobs, parts)
    tested: dict[str, list[str]] = {}
    for split, names in (item for part in parts for item in part.tested.items()):
        tested[split] = list(dict.fromkeys([*tested.get(split, []), *names]))
    judged = {split: {a.name: Path(place[1]) for place, a in arms.items() if a.split == split} for split in tested}
    report = Report(
        title, "; ".join(dict.fromkeys(part.subtitle for part in parts)), list(arms.values()), curves,
        settings=_settings(jobs), diagnoses=diagnoses, tested=tested,
        differences=[row for of in tested for row in paired_tests(judged[of], of, tested[of])],
        along=curves_along(jobs, parts), tables=tables, printed=list(printed), jobs=about,
    )  # fmt: skip
    write_report(directory / "report.json", report)
    write_html(directory / "report.html", report)
    write_table_files(directory / "tables", all_tables(report))
    print_report(report, directory / "report.html")


def _arms(jobs: list[dict[str, Any]], parts: list[Report]) -> dict[tuple[str, str, str], Arm]:
    """(name in its job, directory that measured it, split) -> the row under its name in the comparison."""
    arms: dict[tuple[str, str, str], Arm] = {}
    for job, part in zip(jobs, parts, strict=True):
        for arm in part.arms:
            place = arm.name, job["nodes"][arm.node], arm.split
            if place not in arms or (arm.paper and not arms[place].paper):
                name = f"{arm.name} {difference(jobs, job, arm.node)}".strip()
                arms[place] = replace(arm, name=name)
    return arms


def _of_pretraining(jobs: list[dict[str, Any]], parts: list[Report]) -> tuple[list[Curve], list[Diagnosis]]:
    """Loss curves of every pre-training, and the diagnoses as one table, whose figures are on the pages of the jobs."""
    curves, diagnoses = {}, {}
    for job, part in zip(jobs, parts, strict=True):
        for key, directory in job["nodes"].items():
            if not (arm := pretraining_of(key)):
                continue
            more = difference(jobs, job, key)
            for curve in (curve for curve in part.curves if curve.title == f"Pre-training ({arm})"):
                curves.setdefault((arm, directory), replace(curve, title=f"{curve.title} {more}".strip()))
            for found in (found for found in part.diagnoses if found.arm == arm):
                diagnoses.setdefault((arm, directory), replace(found, arm=f"{arm} {more}".strip()))
    return list(curves.values()), [merge(list(diagnoses.values()))] if diagnoses else []


def merge(diagnoses: list[Diagnosis]) -> Diagnosis:
    """One table over several runs; what is true of the texts stands once."""
    rows, texts = [], {}
    for part in diagnoses:
        end = next(iter(part.table.marked(SUMMARY)), len(part.table.rows))
        rows += [(f"{part.arm}: {name}", *cells) for name, *cells in part.table.rows[:end]]
        texts |= dict.fromkeys(part.table.rows[end:])
    steps = dict.fromkeys(part.table.columns[0].name for part in diagnoses)
    columns = [Column(", ".join(steps)), *diagnoses[0].table.columns[1:]]
    marks = [(len(rows), 0, SUMMARY)] if texts else []
    notes = diagnoses[0].table.notes
    return Diagnosis("all jobs", [], Table("Pre-training (all jobs)", columns, [*rows, *texts], marks, notes))


def _tables(jobs: list[dict[str, Any]], parts: list[Report]) -> dict[str, list[Table]]:
    """The tables that stages left, those of one title and the same columns as one, rows under their names here."""
    found: dict[str, dict[Table, None]] = {}
    for job, part in zip(jobs, parts, strict=True):
        for stage, tables in part.tables.items():
            more = {part.names[key]: difference(jobs, job, key) for key in part.names if key.startswith(f"{stage}@")}
            names = {name: f"{name} {telling}".strip() for name, telling in more.items()}
            title = difference(jobs, job, stage) if stage in job["nodes"] else ""
            found.setdefault(stage, {}).update(dict.fromkeys(renamed(table, names, title) for table in tables))
    return {stage: merged(list(tables)) for stage, tables in found.items()}


def _settings(jobs: list[dict[str, Any]]) -> dict[str, str]:
    """What tells a job from the others -> where its report lies."""
    common = set.intersection(*(set(other["overrides"]) for other in jobs)) if jobs else set()
    return {" ".join(o for o in job["overrides"] if o not in common): job["nodes"]["report"] for job in jobs}
