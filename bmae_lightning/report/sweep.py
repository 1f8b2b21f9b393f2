"""One report over the jobs of a sweep: shared arms stand once, the others under the overrides that tell them apart.

Jobs that differ in their seed alone are one row.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from bmae_lightning.report.along import curves_along, difference
from bmae_lightning.report.content import (
    PRINTED,
    REPORT,
    Arm,
    Case,
    Curve,
    Diagnosis,
    Report,
    pretraining_of,
    read_report,
    write_report,
)
from bmae_lightning.report.headline import with_headline
from bmae_lightning.report.lost import lost_rows, lost_seeds, order_of
from bmae_lightning.report.origin import with_job
from bmae_lightning.report.page import write_html
from bmae_lightning.report.reference import Candidate
from bmae_lightning.report.render import write_table_files
from bmae_lightning.report.seeds import mean_curve, mean_table, seed_of, settings_of
from bmae_lightning.report.significance import tests_of, values_per_query, with_intervals
from bmae_lightning.report.tables import all_tables, merged, print_report, renamed
from bmae_lightning.runtime.mean import mean_of
from bmae_lightning.runtime.node_key import stage_of
from bmae_lightning.runtime.table import SUMMARY, Column, Table

Job = Mapping[str, Any]
Parts = Mapping[str, Report]
"""Directory of the report of a job -> what it says."""


@dataclass
class Row:
    """A row of the comparison: its name, the settings that it is of, and by directory the seed and arm of every run."""

    name: str
    note: str
    runs: dict[str, tuple[str, Arm]] = field(default_factory=dict)
    jobs: set[int] = field(default_factory=set)

    @property
    def split(self) -> str:
        return self._arms()[0].split

    def _arms(self) -> list[Arm]:
        return [arm for _, arm in self.runs.values()]

    def candidate(self) -> Candidate:
        """The row as one that others may be tested against."""
        arm = self._arms()[0]
        return Candidate(self.name, arm.name, arm.node, frozenset(self.jobs))

    def arm(self) -> Arm:
        """The mean over the runs, one run as it is."""
        arms = self._arms()
        printed = next((arm for arm in arms if arm.paper), arms[0])
        return replace(
            arms[0], name=self.name,
            note=self.note or (f"mean of {len(arms)} seeds" if len(arms) > 1 else arms[0].note),
            measures={name: mean_of([arm.measures[name] for arm in arms]) for name in arms[0].measures},
            paper=printed.paper, paper_source=printed.paper_source, interval={},
            origins=[origin for arm in arms for origin in arm.origins],
        )  # fmt: skip

    def single(self) -> list[Arm]:
        """The runs under their seeds, where there are several."""
        several = list(self.runs.values()) if len(self.runs) > 1 else []
        return [replace(arm, name=f"{self.name} {seed}".strip(), paper=None, paper_source="") for seed, arm in several]


def compare(
    jobs: Sequence[Job], directory: Path, title: str = "comparison", printed: Sequence[Table] = (),
    verdicts: Sequence[Table] = (), about: Table | None = None, failed: Sequence[Job] = (),
    reference: str | None = None,
) -> None:  # fmt: skip
    """Write and print one report over the jobs that have made reports; arguments as for `compared`.

    directory: where report.html, report.json and tables/ go.
    """
    jobs = [job for job in jobs if "report" in job["nodes"]]
    if report := compared(jobs, _by_collection(jobs), title, printed, verdicts, about, failed, reference):
        publish(report, directory)
        print_report(report, directory / "report.html")


def reports_of(jobs: Sequence[Job]) -> dict[str, Report]:
    """Directory of the report of a job -> what it says."""
    return {job["nodes"]["report"]: read_report(Path(job["nodes"]["report"]) / REPORT) for job in jobs}


def _by_collection(jobs: Sequence[Job]) -> Parts:
    """The reports; where jobs are of several collections, the splits as `nq/dev`, so that rows of two never meet."""
    reports = reports_of(jobs)
    about = {job["nodes"]["report"]: job.get("job") or {} for job in jobs}
    names = {place: of.get("collection") or of.get("corpus") for place, of in about.items()}
    if len(set(names.values())) < 2:
        return reports
    return {
        place: replace(
            report,
            arms=[replace(arm, split=f"{names[place]}/{arm.split}") for arm in report.arms],
            tested={f"{names[place]}/{split}": measures for split, measures in report.tested.items()},
        )
        for place, report in reports.items()
    }


def publish(report: Report, directory: Path) -> None:
    """Write report.html, report.json and tables/."""
    write_report(directory / REPORT, report)
    write_html(directory / "report.html", report)
    write_table_files(directory / "tables", all_tables(report))


def compared(
    jobs: Sequence[Job], parts: Parts, title: str, printed: Sequence[Table] = (), verdicts: Sequence[Table] = (),
    about: Table | None = None, failed: Sequence[Job] = (), reference: str | None = None,
    examples: Callable[..., list[Case]] | None = None,
) -> Report | None:  # fmt: skip
    """The report over jobs, None where there is nothing to show; an arm that several jobs share stands once.

    Args:
        jobs: `overrides`, `nodes` (key -> directory) and `places` (see `curves_along`) of every finished job.
        parts: their reports.
        title: of the report.
        printed: tables of a paper, filled by these jobs, which stand first.
        verdicts: ours against the paper's, value by value.
        about: the jobs as a table.
        failed: those without values: `overrides`, `state`, `reason` in a line, and `name` of the arm where it is known.
            Where all jobs have a `number`, settings stand in the order of their first jobs.
        reference: what is tested against (`report.reference`).
        examples: makes cases of the first split, from its rows, each with the directory that measured its first run.
    """
    order = order_of(jobs, failed)
    settings = sorted(settings_of(jobs), key=lambda one: order[tuple(one["overrides"])])
    rows, tables = _rows(settings, parts, failed), _tables(settings, parts)
    if printed:
        tables = {stage: of for stage, of in tables.items() if stage != PRINTED}
    splits = list(dict.fromkeys(row.split for row in rows)) or [""]
    placed = [(order[tuple(settings[min(row.jobs)]["overrides"])], row.arm()) for row in rows]
    placed += [(order[one], arm) for one, arm in lost_rows(settings, failed, splits)]
    arms = [arm for _, arm in sorted(placed, key=lambda item: (splits.index(item[1].split), item[0]))]
    if not arms and not tables and not printed and about is None:
        return None
    curves, diagnoses = _of_pretraining(settings, parts)
    behind = _rows(settings, {place: replace(part, arms=part.behind) for place, part in parts.items()}, [])
    tested: dict[str, list[str]] = {}
    for split, names in (item for part in parts.values() for item in part.tested.items()):
        tested[split] = list(dict.fromkeys([*tested.get(split, []), *names]))
    runs = {of: {row.name: list(map(Path, row.runs)) for row in rows if row.split == of} for of in splits}
    values = {of: values_per_query(runs[of], of.rpartition("/")[2]) for of in runs}
    first = {name: directories[0] for name, directories in runs[splits[0]].items()}
    candidates = {of: [row.candidate() for row in rows if row.split == of] for of in tested}
    found = tests_of(candidates, values, tested, reference)
    return with_headline(Report(
        title, "; ".join(dict.fromkeys(part.subtitle for part in parts.values())), with_intervals(arms, values), curves,
        settings=_settings(jobs), diagnoses=diagnoses, tested=tested,
        differences=found.differences, reference=found.reference, notes=found.notes,
        along=curves_along(jobs, [parts[job["nodes"]["report"]] for job in jobs]), tables=tables, printed=list(printed),
        single=[arm for row in rows for arm in row.single()], jobs=about, verdicts=list(verdicts),
        behind=[row.arm() for row in behind], cases=examples(first, splits[0]) if examples else [],
    ))  # fmt: skip


def _rows(settings: Sequence[Job], parts: Parts, failed: Sequence[Job]) -> list[Row]:
    """One for each arm, split and set of directories that measured it."""
    rows: dict[tuple[str, str, tuple[str, ...]], Row] = {}
    for number, one in enumerate(settings):
        for job in one["jobs"]:
            for arm in parts[job["nodes"]["report"]].arms:
                directories = one["nodes"][arm.node]
                name = f"{arm.name} {difference(settings, one, arm.node)}".strip()
                note = lost_seeds(settings, failed, arm.node, directories)
                if "job" in job:
                    arm = replace(arm, origins=[with_job(origin, job["job"]) for origin in arm.origins])
                row = rows.setdefault((arm.name, arm.split, directories), Row(name, note))
                row.jobs.add(number)
                known = row.runs.setdefault(job["nodes"][arm.node], (seed_of(job), arm))
                if arm.paper and not known[1].paper:
                    row.runs[job["nodes"][arm.node]] = seed_of(job), arm
    for (_, _, directories), row in rows.items():
        row.runs = {directory: row.runs[directory] for directory in directories if directory in row.runs}
    return list(rows.values())


def _of_pretraining(settings: Sequence[Job], parts: Parts) -> tuple[list[Curve], list[Diagnosis]]:
    """Loss curves of every pre-training, and the diagnoses as one table, whose figures are on the pages of the jobs."""
    runs: dict[tuple[str, str], Report] = {}
    for job in (job for one in settings for job in one["jobs"]):
        runs |= {item: parts[job["nodes"]["report"]] for item in job["nodes"].items() if item not in runs}
    curves, diagnoses = {}, {}
    for one in settings:
        for key, directories in one["nodes"].items():
            if not (arm := pretraining_of(key)):
                continue
            more, of = difference(settings, one, key), [runs[key, directory] for directory in directories]
            if alike := [curve for part in of for curve in part.curves if curve.title == f"Pre-training ({arm})"]:
                mean = mean_curve([replace(curve, title=f"{curve.title} {more}".strip()) for curve in alike])
                curves.setdefault((arm, directories), mean)
            if found := [found for part in of for found in part.diagnoses if found.arm == arm]:
                tables = [each.table for each in found]
                diagnoses.setdefault(
                    (arm, directories),
                    replace(
                        found[0], arm=f"{arm} {more}".strip(), table=mean_table(tables[0], lambda _, of=tables: of)
                    ),
                )
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


def _tables(settings: Sequence[Job], parts: Parts) -> dict[str, list[Table]]:
    """The tables that stages left, those of one title and the same columns as one, rows under their names here."""
    left: dict[str, list[Table]] = {}  # directory of a node -> the tables in which its rows are
    for job in (job for one in settings for job in one["jobs"]):
        for key, directory in job["nodes"].items():
            left.setdefault(directory, parts[job["nodes"]["report"]].tables.get(stage_of(key), []))
    found: dict[str, dict[Table, None]] = {}
    for one in settings:
        of_jobs = [parts[job["nodes"]["report"]] for job in one["jobs"]]
        for stage in dict.fromkeys(stage for part in of_jobs for stage in part.tables):
            keys = {part.names[key]: key for part in of_jobs for key in part.names if key.startswith(f"{stage}@")}
            names = {name: f"{name} {difference(settings, one, key)}".strip() for name, key in keys.items()}
            title = difference(settings, one, stage) if stage in one["nodes"] else ""
            for table in _kinds(table for part in of_jobs for table in part.tables.get(stage, [])).values():
                mean = _over_seeds(table, {"": stage} | keys, one["nodes"], left)
                found.setdefault(stage, {})[renamed(mean, names, title)] = None
    return {stage: merged(list(tables)) for stage, tables in found.items()}


def _over_seeds(
    table: Table, keys: Mapping[str, str], nodes: Mapping[str, tuple[str, ...]], left: Mapping[str, list[Table]]
) -> Table:
    """The table of a setting; keys: name of an arm -> the node that left its rows, "" -> the one of all other rows."""

    def runs_of(name: str) -> list[Table]:
        key = keys.get(name) or keys.get(name.partition(": ")[0]) or keys[""]
        kinds = [_kinds(left[directory]) for directory in nodes.get(key, ())]
        return [of[kind] for of in kinds if (kind := next(iter(_kinds([table])))) in of]

    return mean_table(table, runs_of)


def _kinds(tables: Iterable[Table]) -> dict[tuple, Table]:
    """The first of the tables that differ in their values alone."""
    found: dict[tuple, Table] = {}
    for table in tables:
        found.setdefault((table.title, tuple(column.key for column in table.columns)), table)
    return found


def _settings(jobs: list[dict[str, Any]]) -> dict[str, str]:
    """What tells a job from the others -> where its report lies."""
    common = set.intersection(*(set(other["overrides"]) for other in jobs)) if jobs else set()
    return {" ".join(o for o in job["overrides"] if o not in common): job["nodes"]["report"] for job in jobs}
