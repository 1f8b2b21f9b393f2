"""Measure runs from any system against judgments, from files alone: no model, no corpus, nothing in the store."""

import json
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from bmae_lightning.evaluation.measure.bootstrap import RESAMPLES
from bmae_lightning.evaluation.measure.ranking import Measure, Measured, canonical, evaluate
from bmae_lightning.evaluation.measure.run_files import RANK, SCORE, open_run
from bmae_lightning.evaluation.measure.significance import differences
from bmae_lightning.evaluation.measure.trec import Qrels, Run, read_qrels
from bmae_lightning.report.content import Arm, Report, decimals
from bmae_lightning.report.significance import PERCENT, with_intervals
from bmae_lightning.report.tables import all_tables
from bmae_lightning.runtime.checks import choice, nearest
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import write_text
from bmae_lightning.runtime.table import Table, print_tables, print_text


@dataclass(frozen=True)
class RunFile:
    """A run to measure.

    Args:
        path: of its file, in any form of `evaluation.measure.run_files`.
        name: what it is called in the table, None: as its file.
        third: what the last of three columns is, rank or score; None: what its values show.
    """

    path: str
    name: str | None = None
    third: str | None = None

    def __post_init__(self) -> None:
        choice((None, RANK, SCORE), third=self.third)


def run_files(given: Any) -> list[RunFile]:
    """The run files of `run=`: one, or a list, of paths and of {path: PATH, name: NAME}.

    Raises:
        BadInput: an entry of another form, a file that is named twice, or two of one name.
    """
    found = [_run_file(entry) for entry in (given if isinstance(given, list) else [given])]
    paths = [file.path for file in found]
    if len(set(paths)) < len(paths):
        raise BadInput(f"run=[{','.join(paths)}] names a file twice; keep one of each")
    own = [Path(path).name for path in paths]
    labels = [file.name or (o if own.count(o) == 1 else file.path) for file, o in zip(found, own, strict=True)]
    if twice := [label for label in labels if labels.count(label) > 1]:
        raise BadInput(f"run: two runs are called {twice[0]!r}; give one of them another name")
    return [replace(file, name=label) for file, label in zip(found, labels, strict=True)]


def _run_file(entry: Any) -> RunFile:
    if not isinstance(entry, dict):
        return RunFile(str(entry))
    known = [field.name for field in fields(RunFile)]
    if wrong := [key for key in entry if key not in known]:
        raise BadInput(f"run: {wrong[0]!r} is no part of a run, which has {', '.join(known)}{nearest(wrong[0], known)}")
    if entry.get("path") is None:
        raise BadInput(f"run: {entry} has no path; write {{path: FILE, name: NAME}}")
    try:
        return RunFile(**{key: None if value is None else str(value) for key, value in entry.items()})
    except ValueError as error:
        raise BadInput(f"run: {entry['path']}: {error}") from error


def judge(runs: Any, qrels: str, measures: list[str | Measure], per_query: str | None = None) -> Report:
    """Print measures of every run, and which differences between runs are more than chance in the first measure.

    Args:
        runs: files, as `run_files` takes them.
        qrels: judgments in the columns of TREC, BEIR or MS MARCO (pairs).
        measures: names of ir_measures or measures of one's own.
        per_query: a file for the values per query, one JSON object a line.

    Raises:
        BadInput: a file that cannot be read, or that would be overwritten, or a run that answers no judged query.
    """
    names, judged = canonical(measures), read_qrels(qrels)
    files = run_files(runs)
    if per_query and Path(per_query).resolve() in {Path(path).resolve() for path in (*(f.path for f in files), qrels)}:
        raise BadInput(f"per_query={per_query} is one of the files that are read: name another one")
    arms, found = [], {}
    for file in files:
        label, run = str(file.name), open_run(file.path, file.third)
        try:
            if not len(run):
                raise BadInput("the run is empty")
            found[label] = evaluate(judged, run, measures)
        except BadInput as error:
            raise BadInput(f"{file.path}: {error}") from error
        arms.append(Arm(label, found[label].mean, found[label].queries, _note(run, judged, found[label])))
    first = {label: measured.per_query[names[0]] for label, measured in found.items()}
    title = f"{Path(qrels).name}: {len(judged):,} judged queries"
    arms = with_intervals(arms, {"": {label: measured.per_query for label, measured in found.items()}})
    report = Report(title, arms=arms, tested=names[:1], differences=differences(names[0], first))
    first_table, *others = all_tables(report).values()
    print_tables([first_table, _intervals(report), *others])
    if per_query:
        write_text(per_query, "".join(_lines(found, judged)))
        print_text(f"values per query: {per_query}\n")
    return report


def _intervals(report: Report) -> Table:
    """How far each measure would move with other queries of the kind."""
    measures, digits = report.measures(), decimals(report.arms)
    rows = [
        [
            arm.name,
            *(" to ".join(f"{end:.{digits}f}" for end in arm.interval.get(name, ())) or "-" for name in measures),
        ]
        for arm in report.arms
    ]
    return Table(f"{PERCENT} intervals over queries (bootstrap, {RESAMPLES:,} resamples)", ["arm", *measures], rows)


def _note(run: Run, judged: Qrels, measured: Measured) -> str:
    note = f"answers {measured.answered:,} of {measured.queries:,} judged queries, {run.depth:,} ranks at most"
    unjudged = sum(query not in judged for query in run)
    return note + (f"; {unjudged:,} more of its queries are not judged" if unjudged else "")


def _lines(found: dict[str, Measured], judged: Qrels) -> list[str]:
    return [
        json.dumps({"run": label, "query": query} | {name: of[query] for name, of in measured.per_query.items()}) + "\n"
        for label, measured in found.items()
        for query in judged
    ]
