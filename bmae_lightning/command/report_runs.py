"""A page over finished runs that were not one sweep: `report report.runs=[DIR,…]` looks at them and runs nothing."""

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

from bmae_lightning.evaluation.measure.ranking import canonical, measures_of
from bmae_lightning.report.comparison import KEPT
from bmae_lightning.report.content import Case, Report
from bmae_lightning.report.finished import Runs, find_runs
from bmae_lightning.report.paper_table import paper_table, verdict_table
from bmae_lightning.report.printed import read_table
from bmae_lightning.report.sweep import compared, publish, reports_of
from bmae_lightning.report.tables import print_report
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import replacing
from bmae_lightning.runtime.table import Table
from bmae_lightning.stage.example_queries import find_cases
from bmae_lightning.stage.prepared import Prepared

LONGEST_NAME = 60
PAPER_KEYS = ("collection", "corpus", "scale")
"""What a row of a paper's table knows of its job beside `KEPT`."""


def report_runs(given: Any, name: str | None, config: dict[str, Any], named: set[str]) -> None:
    """Write the page, report.json and tables/ to `<output_dir>/reports/<name>/`, and print the tables.

    Rows that were judged on different queries, or by different judgments, are not compared: runs on several collections
    have a page each, in a directory of the collection's name.

    Args:
        given: a directory or fingerprint, or several.
        name: of the directory; None: as the runs are called.
        config: resolved.
        named: keys that the command sets; of the options of a report those are applied.

    Raises:
        BadInput: a run that is not there or has not finished, or options that do not fit the runs.
    """
    output_dir, given = Path(config["output_dir"]).absolute(), given if isinstance(given, list) else [given]
    if wrong := [item for item in given if not isinstance(item, str | int)]:
        raise BadInput(f"""report.runs: {wrong[0]} is read as a number; quote the digits: 'report.runs=["…"]'""")
    root = output_dir / "reports" / _name(name, list(map(str, given)))
    runs = find_runs(map(str, given), output_dir)
    parts = _by_collection(runs, reports_of(runs.jobs))
    made = {}
    with replacing(root) as temporary:
        for collection, part in parts.items():
            place = collection if len(parts) > 1 else ""
            made[place] = _compared(part, f"{root.name} {place}".strip(), config, named)
            publish(made[place], temporary / place)
    for place, report in made.items():
        print_report(report, root / place / "report.html")


def _name(given: Any, runs: list[str]) -> str:
    """The name of the directory: the given one, or what the runs are called."""
    if given is not None:
        if not re.fullmatch(r"[\w][\w.+=@ -]*", str(given)):
            raise BadInput(f"report.name={given}: give the name of a directory in reports/, of letters and digits")
        return str(given)
    name = re.sub(r"[^\w.+=@-]+", "-", "+".join(Path(run).name for run in runs))
    if len(name) <= LONGEST_NAME:
        return name
    return f"{name[: LONGEST_NAME - 9]}-{hashlib.sha256(' '.join(runs).encode()).hexdigest()[:8]}"


def _by_collection(runs: Runs, reports: dict[str, Report]) -> dict[str, Runs]:
    """Name of a collection -> the runs on it: those whose splits of one name have the same queries and judgments.

    A job that has failed belongs to the collections of its sweep.
    """
    groups: list[tuple[dict[str, str], Runs, str]] = []
    digests: dict[tuple[str, str], str] = {}
    for job in runs.jobs:
        directory = Path(job["nodes"].get("prepare", ""))
        if not (directory / "corpus.json").is_file():
            raise BadInput(f"report.runs: the judgments of {job['source']}, in {directory}, are gone: run it again")
        prepared, judged = Prepared(directory), {}
        for split in dict.fromkeys(arm.split for arm in reports[job["nodes"]["report"]].arms):
            if (key := (str(directory), split)) not in digests:
                content = json.dumps([prepared.record["passages"], prepared.qrels(split)], sort_keys=True)
                digests[key] = hashlib.sha256(content.encode()).hexdigest()
            judged[split] = digests[key]
        for known, part, _ in groups:
            if all(known.get(split, digest) == digest for split, digest in judged.items()):
                known.update(judged)
                part.jobs.append(job)
                break
        else:
            groups.append((judged, Runs([job]), prepared.record["name"]))
    found: dict[str, Runs] = {}
    for _, part, name in groups:
        sources = {job["source"] for job in part.jobs}
        part.failed += [job for job in runs.failed if job["source"] in sources]
        plain = re.sub(r"[^\w.@-]+", "-", name)
        found[f"{plain}-{len(found) + 1}" if plain in found else plain] = part
    return found


def _compared(runs: Runs, title: str, config: dict[str, Any], named: set[str]) -> Report:
    """The report over runs on one collection, with the options that the command names."""
    options = config["report"]
    reports = {place: _chosen(report, config, named) for place, report in reports_of(runs.jobs).items()}
    cases, prepared = options["cases"] if "report.cases" in named else 0, runs.jobs[0]["nodes"]["prepare"]

    def examples(arms: dict[str, Path], split: str) -> list[Case]:
        measure = next(iter(next(arm for of in reports.values() for arm in of.arms if arm.split == split).measures))
        return find_cases(Prepared(Path(prepared)), arms, split, measure, cases)

    printed, verdicts = _papers(runs, config)
    report = compared(
        runs.jobs,
        reports,
        title,
        printed,
        verdicts,
        failed=runs.failed,
        reference=options["reference"],
        examples=examples if cases else None,
    )
    if report is None:
        raise BadInput(f"report.runs: nothing was measured in {', '.join(job['source'] for job in runs.jobs)}")
    return report


def _chosen(report: Report, config: dict[str, Any], named: set[str]) -> Report:
    """The report of a job with the measures, and the tests, that the command names."""
    if named & {"measures", "report.measures"}:
        key = "report.measures" if "report.measures" in named else "measures"
        asked = build(config["report"]["measures"], key)
        arms = []
        for arm in report.arms:
            wanted = canonical(measures_of(asked, arm.split))
            if absent := [name for name in wanted if name not in arm.measures]:
                raise BadInput(
                    f"{key}: {absent[0]} was not measured for {arm.name} on {arm.split}, {', '.join(arm.measures)} "
                    "were: choose among these, or measure its run with evaluate run=FILE"
                )
            measures = {name: arm.measures[name] for name in wanted}
            paper = arm.paper and {name: value for name, value in arm.paper.items() if name in wanted}
            arms.append(replace(arm, measures=measures, paper=paper or None))
        report = replace(report, arms=arms)
    splits: dict[str, list[str]] = {}
    for arm in report.arms:
        splits.setdefault(arm.split, list(arm.measures))
    if "report.significance" in named and config["report"]["significance"] is not None:
        wanted = canonical(config["report"]["significance"])
        tested = {split: [name for name in measures if name in wanted] for split, measures in splits.items()}
    else:
        known = {split: [name for name in report.tested.get(split, []) if name in splits[split]] for split in splits}
        tested = {split: names or splits[split][:1] for split, names in known.items()}
    return replace(report, tested=tested)


def _papers(runs: Runs, config: dict[str, Any]) -> tuple[list[Table], list[Table]]:
    """A paper's table and its verdicts, where the command gives one, or all jobs that are of one are of the same."""
    rows = [
        {key: job["job"]["config"].get(key) for key in (*KEPT, "paper_table")}
        | {key: job["job"].get(key) for key in PAPER_KEYS}
        | {"overrides": job["overrides"], "nodes": job["nodes"]}
        for job in runs.jobs
        if (job.get("job") or {}).get("config")
    ]
    given = config["paper_table"]
    if given is None:
        rows = [row for row in rows if row["paper_table"] is not None]
        given = rows[0]["paper_table"] if rows else None
        if any(row["paper_table"] != given for row in rows):
            return [], []
    if given is None:
        return [], []
    about = read_table(given)
    lost = [job for job in runs.failed if job["row"]]
    rows += [job["row"] | {key: job[key] for key in ("state", "reason", "overrides")} for job in lost]
    stages = {name: node for name, node in config.items() if isinstance(node, dict) and "inputs" in node}
    rungs = {name: node.get("shown_as") or node["inputs"].get("retriever") or name for name, node in stages.items()}
    return [paper_table(about, rows, rungs)], [verdict_table(about, rows, rungs)]
