"""A sweep as one experiment: one W&B group for all of its jobs, and at its end one table and one page over them."""

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback

from bmae_lightning.report.content import BASELINE, EXTERNAL, Curve, Report

if TYPE_CHECKING:
    from bmae_lightning.report.content import Diagnosis

JUDGED = ("bm25", "evaluate", "evaluate2", "rerank", "evaluate_distilled", "external")
"""Stages that measure an arm."""
UNNAMED = ("output_dir=", "logger", "trainer", "stage=")
"""Overrides that say how a sweep is run, not what it runs over."""
LONGEST_GROUP = 80


class Comparison(Callback):
    """Hydra callback; reads the `result.json` of every job of a sweep."""

    group = ""

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        """Give all jobs the same `group`, unless the command or the table names one."""
        from omegaconf import open_dict

        self.group = config.group or sweep_group(list(config.hydra.overrides.task))
        if config.group is None:
            with open_dict(config.hydra.overrides):
                config.hydra.overrides.task.append(f"group='{self.group}'")

    def on_multirun_end(self, config: Any, **_: Any) -> None:
        """Write report.html and report.json into the sweep's directory and print the table."""
        from bmae_lightning.runtime.process import process_rank

        directory = Path(config.hydra.sweep.dir)
        files = sorted(directory.glob("*/result.json"), key=lambda path: int(path.parent.name))
        if process_rank() == 0 and len(files) > 1:
            jobs = [json.loads(path.read_text(encoding="utf-8")) for path in files]
            compare(jobs, directory, f"comparison: {self.group}")


def sweep_group(overrides: list[str]) -> str:
    """A name that says what a sweep runs over, the same when the sweep is started again; at most 80 characters.

    Args:
        overrides: of the command, with all choices as they stand there.
    """
    told = [item.lstrip("+") for item in overrides if not item.lstrip("+").startswith(UNNAMED)]
    name = re.sub(r"[/\\'\"]", "-", " ".join(told)) or "sweep"
    if len(name) <= LONGEST_GROUP:
        return name
    return f"{name[: LONGEST_GROUP - 9]} {hashlib.sha256(name.encode()).hexdigest()[:8]}"


def compare(jobs: list[dict[str, Any]], directory: Path, title: str = "comparison") -> None:
    """One report over jobs; an arm that several jobs share (BM25, no pre-training) stands once.

    Args:
        jobs: `overrides`, `nodes` (stage -> directory) and `places` (see `along`) of every finished job.
        directory: where report.html and report.json go.
        title: of the table.
    """
    import dataclasses

    from bmae_lightning.report.content import Report, arm_name
    from bmae_lightning.report.machine import read_json, write_json
    from bmae_lightning.report.page import write_html
    from bmae_lightning.report.scores import merge_scores
    from bmae_lightning.report.significance import paired_tests
    from bmae_lightning.report.table import print_report

    jobs = [job for job in jobs if "report" in job["nodes"]]
    parts = [read_json(Path(job["nodes"]["report"]) / "report.json") for job in jobs]
    arms, curves, diagnoses, scores, settings, tested, subtitle, split = {}, {}, {}, [], {}, {}, "", ""
    for job, part in zip(jobs, parts, strict=True):
        subtitle, split, tested = part.subtitle, part.split, tested | dict.fromkeys(part.tested)
        judged = judged_nodes(job)
        for arm in part.arms:
            key = judged[arm.name]
            row = dataclasses.replace(arm, name=f"{arm.name} {difference(jobs, job, key)}".strip())
            place = (arm.name, job["nodes"][key])
            if place not in arms or (row.paper and not arms[place].paper):
                arms[place] = row
        for key in (key for key in job["nodes"] if key.startswith("pretrain@")):
            arm, more = key.partition("@")[2], difference(jobs, job, key)
            for curve in (curve for curve in part.curves if curve.title == f"Pre-training ({arm})"):
                named = dataclasses.replace(curve, title=f"{curve.title} {more}".strip())
                curves.setdefault((arm, job["nodes"][key]), named)
            for found in (found for found in part.diagnoses if found.arm == arm):  # its figures are on the job's page
                named = dataclasses.replace(found, arm=f"{arm} {more}".strip(), curves=[])
                diagnoses.setdefault((arm, job["nodes"][key]), named)
        glue = {arm_name(*key.partition("@")[::2]): key for key in job["nodes"] if key.startswith("glue@")}
        more = {name: f"{name} {difference(jobs, job, key)}".strip() for name, key in glue.items()}
        scores += [table.renamed(more) for table in part.scores]
        common = set.intersection(*(set(other["overrides"]) for other in jobs))
        settings[" ".join(item for item in job["overrides"] if item not in common)] = job["nodes"]["report"]
    if not arms and not scores:
        return
    looks = [merge(list(diagnoses.values()))] if diagnoses else []
    judged = {arm.name: Path(directory) for (_, directory), arm in arms.items()}
    report = Report(
        title, subtitle, list(arms.values()), list(curves.values()), [], settings, [], looks, split, list(tested),
        paired_tests(judged, split, list(tested)), along=curves_along(jobs, parts), scores=merge_scores(scores),
    )  # fmt: skip
    write_json(directory / "report.json", report)
    write_html(directory / "report.html", report)
    print_report(report, directory / "report.html")


def judged_nodes(job: dict[str, Any]) -> dict[str, str]:
    """Name of every arm in the table of a job -> key of the node that measured it."""
    from bmae_lightning.report.content import arm_name

    return {arm_name(*key.partition("@")[::2]): key for key in job["nodes"] if key.partition("@")[0] in JUDGED}


def difference(jobs: list[dict[str, Any]], job: dict[str, Any], key: str) -> str:
    """The overrides that tell this job's node from nodes of the same key: empty where all are one, or the name is unique.

    An override counts if every job that shares the node says it, and not every job with such a node does.
    """
    alike = [set(other["overrides"]) for other in jobs if key in other["nodes"]]
    same = [set(other["overrides"]) for other in jobs if other["nodes"].get(key) == job["nodes"][key]]
    telling = set.intersection(*same) - set.intersection(*alike)
    telling = {item for item in telling if not re.match(r"\+\w+=", item)} or telling  # experiments name their arms
    return " ".join(item for item in job["overrides"] if item in telling)


def merge(diagnoses: list["Diagnosis"]) -> "Diagnosis":
    """One table over several runs; what is true of the texts stands once."""
    from bmae_lightning.report.content import Diagnosis

    rows = [[f"{part.arm}: {name}", *cells] for part in diagnoses for name, *cells in part.rows]
    texts = {tuple(row): None for part in diagnoses for row in part.texts}
    steps = {part.when: None for part in diagnoses}
    return Diagnosis("all jobs", ", ".join(steps), [], diagnoses[0].columns, rows, [list(row) for row in texts])


AXES = {"train_share": "share of the training queries (%)", "pretrain_step": "steps of pre-training"}
"""Options that are a place on an axis -> what the axis is called."""


def curves_along(jobs: list[dict[str, Any]], reports: list[Report]) -> list[Curve]:
    """One figure per measure and option that the jobs take at least two values of; a line per arm.

    Jobs that differ by `seed` only are one point, their mean. Along the steps of pre-training lines begin at step 0 with
    the arm without pre-training, where the jobs have it.

    Args:
        jobs: `overrides`, `nodes` and `places` (option -> value) of every job.
        reports: of each.
    """
    return [
        curve
        for axis in AXES
        if len({job.get("places", {}).get(axis) for job in jobs}) > 1
        for curve in _curves(axis, jobs, reports)
    ]


def _curves(axis: str, jobs: list[dict[str, Any]], reports: list[Report]) -> list[Curve]:
    places = [_place(axis, job) for job in jobs]
    alike = [job | {"overrides": [o for o in job["overrides"] if not o.startswith("seed=")]} for job in jobs]
    values: dict[str, dict[str, dict[float, dict[str, float]]]] = {}
    for job, report, x in zip(alike, reports, places, strict=True):
        if x is None:
            continue
        peers = [peer for peer, place in zip(alike, places, strict=True) if place == x]
        nodes, arms = judged_nodes(job), {arm.name: arm for arm in report.arms}
        for name in arms:
            line = f"{name} {difference(peers, job, nodes[name])}".strip()
            points = [(x, name)]
            if axis == "pretrain_step":
                stage = nodes[name].partition("@")[0]
                start = nodes[name] if stage in ("bm25", EXTERNAL) else f"{stage}@{BASELINE}"
                points += [(0.0, other) for other, key in nodes.items() if key == start and other in arms]
            for place, source in points:
                for measure, value in arms[source].measures.items():
                    at = values.setdefault(measure, {}).setdefault(line, {}).setdefault(place, {})
                    at[job["nodes"][nodes[source]]] = value
    label, seeds = AXES[axis], {o for job in jobs for o in job["overrides"] if o.startswith("seed=")}
    mean = f" (mean of {len(seeds)} seeds)" if len(seeds) > 1 else ""
    return [
        Curve(
            f"{measure} over the {label.removesuffix(' (%)')}{mean}",
            {line: [(x, sum(at.values()) / len(at)) for x, at in sorted(points.items())] for line, points in of.items()},
            x=label, y=measure, linear=True, marked=True,
        )
        for measure, of in values.items()
    ]  # fmt: skip


def _place(axis: str, job: dict[str, Any]) -> float | None:
    """Where a job lies on the axis, None where that cannot be said."""
    value = job.get("places", {}).get(axis)
    if axis == "train_share":
        return value and round(100 * value, 6)
    if value is not None:
        return float(value)
    for key, directory in job["nodes"].items():  # the end: what the pre-training logged last
        path = Path(directory) / "metrics.json"
        if key.startswith("pretrain@") and path.is_file():
            return float(json.loads(path.read_text(encoding="utf-8"))["step"])
    return None
