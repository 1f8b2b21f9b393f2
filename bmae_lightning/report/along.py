"""Measures along an option of a sweep: the share of the training queries, the steps of pre-training, any number."""

import json
import re
from pathlib import Path
from typing import Any

from bmae_lightning.report.content import BASELINE, Curve, Report
from bmae_lightning.runtime.mean import mean_of
from bmae_lightning.runtime.node_key import arm_of, node_key, stage_of
from bmae_lightning.runtime.snapshots import in_steps

AXES = {"train_share": "share of the training queries (%)", "pretrain_step": "steps of pre-training"}
"""Options whose values are places on an axis, where jobs have two of them -> what the axis is called."""
FEWEST = 3
"""Values that jobs have of any other number, for curves along it."""


def curves_along(jobs: list[dict[str, Any]], reports: list[Report]) -> list[Curve]:
    """One figure per measure (of the first split) and option that the jobs take several values of; a line per arm.

    Jobs that differ by `seed` only are one point, their mean. Along the steps of pre-training lines begin at step 0
    with the arm without pre-training, where the jobs have it.

    Args:
        jobs: `overrides`, `nodes` and `places` (option -> value) of every job.
        reports: of each.
    """
    axes = [axis for axis in AXES if len({job.get("places", {}).get(axis) for job in jobs}) > 1]
    return [curve for axis in [*axes, *_numbers(jobs)] for curve in _curves(axis, jobs, reports)]


def _numbers(jobs: list[dict[str, Any]]) -> list[str]:
    """Options that the jobs set to several numbers, apart from those that have an axis of their own and the seed."""
    keys = dict.fromkeys(override.partition("=")[0] for job in jobs for override in job["overrides"])
    values = {key: {_number(key, job) for job in jobs} - {None} for key in keys if key not in (*AXES, "seed")}
    return [key for key, found in values.items() if len(found) >= FEWEST]


def _number(key: str, job: dict[str, Any]) -> float | None:
    value = dict(override.partition("=")[::2] for override in job["overrides"]).get(key, "")
    try:
        return float(value)
    except ValueError:
        return None


def _curves(axis: str, jobs: list[dict[str, Any]], reports: list[Report]) -> list[Curve]:
    places = [_place(axis, job) for job in jobs]
    alike = [job | {"overrides": [o for o in job["overrides"] if not o.startswith("seed=")]} for job in jobs]
    values: dict[str, dict[str, dict[float, dict[str, float]]]] = {}
    for job, report, x in zip(alike, reports, places, strict=True):
        if x is None:
            continue
        peers = [peer for peer, place in zip(alike, places, strict=True) if place == x]
        arms = {arm.name: arm for arm in next(iter(report.by_split().values())).arms}
        nodes = {name: arm.node for name, arm in arms.items()}
        for name in arms:
            line = f"{name} {difference(peers, job, nodes[name])}".strip()
            points = [(x, name)]
            if axis == "pretrain_step":
                points += [(0.0, other) for other, key in nodes.items() if key == _without(job, nodes[name])]
            for place, source in points:
                for measure, value in arms[source].measures.items():
                    at = values.setdefault(measure, {}).setdefault(line, {}).setdefault(place, {})
                    at[job["nodes"][nodes[source]]] = value
    label, seeds = AXES.get(axis, axis), {o for job in jobs for o in job["overrides"] if o.startswith("seed=")}
    told = f"the {label.removesuffix(' (%)')}" if axis in AXES else axis
    mean = f" (mean ± sd of {len(seeds)} seeds)" if len(seeds) > 1 else ""
    return [
        Curve(
            f"{measure} over {told}{mean}",
            {line: [(x, mean_of(list(at.values()))) for x, at in sorted(of[line].items())]
             for line in of if axis in AXES or len(of[line]) > 1},
            x=label, y=measure, linear=True, marked=True,
        )
        for measure, of in values.items()
    ]  # fmt: skip


def difference(jobs: list[dict[str, Any]], job: dict[str, Any], key: str) -> str:
    """The overrides that tell this job's node from those of the same key in other jobs, empty where all are one.

    An override counts if every job that shares the node has it, and not every job with such a node does, unless it is
    of an option on which no such node depends, as jobs show that share one and differ in it.
    """
    alike: dict[Any, list[set[str]]] = {}  # directory of such a node -> the overrides of the jobs that share it
    for other in jobs:
        if key in other["nodes"]:
            alike.setdefault(other["nodes"][key], []).append(set(other["overrides"]))
    same, others = alike[job["nodes"][key]], [of for node in alike for of in alike[node] if node != job["nodes"][key]]
    telling = set.intersection(*same) - set.intersection(*same, *others)
    telling = {item for item in telling if not re.match(r"\+[\w/]+=", item)} or telling  # experiments name their arms
    idle = {_key(item) for of in alike.values() for item in set.union(*of) - set.intersection(*of)}
    for item in [item for item in job["overrides"] if item in telling and _key(item) in idle]:
        if all(telling - {item} - of for of in others):
            telling = telling - {item}
    return " ".join(item for item in job["overrides"] if item in telling)


def _key(override: str) -> str:
    return override.partition("=")[0]


def _without(job: dict[str, Any], node: str) -> str:
    """The node that measured the same without pre-training: the node itself where it has none, empty where none did."""
    if (start := node_key(stage_of(node), BASELINE)) in job["nodes"]:
        return start
    return "" if node_key("pretrain", arm_of(node)) in job["nodes"] else node


def _place(axis: str, job: dict[str, Any]) -> float | None:
    """Where a job lies on the axis, None where that cannot be said."""
    if axis not in AXES:
        return _number(axis, job)
    value = job.get("places", {}).get(axis)
    if axis == "train_share":
        return value and round(100 * value, 6)
    if value is not None and not 0 < value < 1:
        return float(value)
    for key, directory in job["nodes"].items():  # the end: what the pre-training logged last
        path = Path(directory) / "metrics.json"
        if key.startswith("pretrain@") and path.is_file():
            steps = json.loads(path.read_text(encoding="utf-8"))["step"]
            return float(steps if value is None else in_steps(value, steps))
    return None
