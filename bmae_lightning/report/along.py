"""Curves along a sweep: measures over the share of training queries (MASTER Figure 3b) or the steps of pre-training (3a).

No equation here; the values are those of the jobs' reports.
"""

import json
from pathlib import Path
from typing import Any

from bmae_lightning.report.comparison import difference, judged_nodes
from bmae_lightning.report.content import BASELINE, EXTERNAL, Curve, Report

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
