"""Measure TREC runs from any system against judgments, from files alone: no model, no corpus, nothing in the store."""

import json
from pathlib import Path

from bmae_lightning.evaluation.measure.ranking import Measure, Measured, canonical, evaluate
from bmae_lightning.evaluation.measure.significance import differences
from bmae_lightning.evaluation.measure.trec import Qrels, Run, read_qrels, read_run
from bmae_lightning.report.content import Arm, Report
from bmae_lightning.report.tables import all_tables
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import write_text
from bmae_lightning.runtime.table import print_tables, print_text


def judge(runs: list[str], qrels: str, measures: list[str | Measure], per_query: str | None = None) -> Report:
    """Print measures of every run, and which differences between runs are more than chance in the first measure.

    Args:
        runs: TREC files.
        qrels: judgments in the columns of TREC, BEIR or MS MARCO (pairs).
        measures: names of ir_measures or measures of one's own.
        per_query: a file for the values per query, one JSON object a line.

    Raises:
        BadInput: a file that cannot be read, or that would be overwritten, or a run that answers no judged query.
    """
    names, judged = canonical(measures), read_qrels(qrels)
    labels = _labels(runs)
    if per_query and Path(per_query).resolve() in {Path(path).resolve() for path in (*runs, qrels)}:
        raise BadInput(f"per_query={per_query} is one of the files that are read: name another one")
    arms, found = [], {}
    for label, path in labels.items():
        run = read_run(path)
        try:
            if not len(run):
                raise BadInput("the run is empty")
            found[label] = evaluate(judged, run, measures)
        except BadInput as error:
            raise BadInput(f"{path}: {error}") from error
        arms.append(Arm(label, found[label].mean, found[label].queries, _note(run, judged, found[label])))
    first = {label: measured.per_query[names[0]] for label, measured in found.items()}
    title = f"{Path(qrels).name}: {len(judged):,} judged queries"
    report = Report(title, arms=arms, tested=names[:1], differences=differences(names[0], first))
    print_tables(list(all_tables(report).values()))
    if per_query:
        write_text(per_query, "".join(_lines(found, judged)))
        print_text(f"values per query: {per_query}\n")
    return report


def _labels(runs: list[str]) -> dict[str, str]:
    """What each file is called in the table: its name, or its path where two have one name."""
    if len(set(runs)) < len(runs):
        raise BadInput(f"run=[{','.join(runs)}] names a file twice; keep one of each")
    names = [Path(run).name for run in runs]
    return {name if names.count(name) == 1 else run: run for name, run in zip(names, runs, strict=True)}


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
