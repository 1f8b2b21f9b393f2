"""What jobs would take (`check=true`): a row each, and all of them with what they share counted once."""

import math
from collections import ChainMap
from dataclasses import dataclass, field

from bmae_lightning.runtime.cost import Cost, Sizes
from bmae_lightning.runtime.process import process_rank
from bmae_lightning.runtime.table import SUMMARY, Column, Table, print_tables

COLUMNS = (
    "job",
    Column("stages", ","), Column("done", ","),
    Column("steps", ",.0f", group="pre-training"), Column("M passages", ",.1f", group="pre-training"),
    Column("steps", ",.0f", group="fine-tuning"), Column("M passages", ",.1f", group="fine-tuning"),
    Column("M encoded", ",.1f"), Column("GPU h", ",.1f"), Column("GB", ",.1f"),
)  # fmt: skip


@dataclass
class Forecast:
    """One job.

    Attributes:
        name: of its arm.
        tflops: assumed rate of a GPU, 10¹² operations a second.
        stages: fingerprint -> what the stage takes, None where it is done; jobs share those with one fingerprint.
        collections: what is known of the size of each, by the stage that prepares it.
        downloads: what is not on this machine, with the option that names it.
        unchecked: stages that could not look ahead because of that.
        uncounted: stages whose cost is not wholly known.
    """

    name: str
    tflops: float
    stages: dict[str, Cost | None] = field(default_factory=dict)
    collections: dict[str, Sizes] = field(default_factory=dict)
    downloads: dict[str, str] = field(default_factory=dict)
    unchecked: list[str] = field(default_factory=list)
    uncounted: list[str] = field(default_factory=list)


FORECASTS: list[Forecast] = []
"""Of the jobs of this command, in order."""


def print_forecasts() -> None:
    """Print the jobs of this command as a table and forget them; nothing where there are none."""
    if FORECASTS and process_rank() == 0:
        print_tables([table(FORECASTS)])
        FORECASTS.clear()


def table(jobs: list[Forecast]) -> Table:
    """Everything but the numbers of stages counts what is left to do."""
    tflops, together = jobs[0].tflops, dict(ChainMap(*(job.stages for job in jobs)))
    rows = [_row(job.name, job.stages, tflops) for job in jobs]
    apart, once = sum(row[-2] for row in rows), _row("all, shared stages once", together, tflops)
    marks = [(len(rows), 0, SUMMARY)] if len(rows) > 1 else []
    planned = sum(len(job.stages) for job in jobs)
    notes = [
        f"{len(jobs)} jobs plan {planned} stages, {len(together)} of them distinct, {once[2]} done; what they share "
        f"saves {_number(apart - once[-2])} GPU hours."
    ] * (len(rows) > 1)
    notes += [
        f"GPU h: hours at an assumed {tflops:g} TFLOP/s sustained on each GPU (check_tflops; an A100's peak in bf16 is "
        "312), 6 operations per weight and token in training and 2 in encoding, the vocabulary head at every position; "
        "searching, and attention's share that grows with the square of the length, are left out. GB: texts, weights "
        "and vectors that stay."
    ]
    notes += dict.fromkeys(_size(stage, sizes) for job in jobs for stage, sizes in job.collections.items())
    fetched = ChainMap(*(job.downloads for job in jobs))
    notes += [f"To be downloaded: {name} ({fetched[name]})." for name in sorted(fetched)]
    if uncounted := dict.fromkeys(stage for job in jobs for stage in job.uncounted):
        notes.append(f"Not wholly counted, as the size of a collection is unknown: {', '.join(uncounted)}.")
    if unchecked := dict.fromkeys(stage for job in jobs for stage in job.unchecked):
        notes.append(f"Not wholly checked before that is there: {', '.join(unchecked)}.")
    title = "What this would take; nothing was run"
    return Table(title, COLUMNS, [*rows, once] if len(rows) > 1 else rows, marks, notes)


def _row(name: str, stages: dict[str, Cost | None], tflops: float) -> list:
    costs = [cost for cost in stages.values() if cost is not None]
    cost = sum(costs, Cost())
    work = [cost.pretrain_steps, cost.pretrain_passages / 1e6, cost.tune_steps, cost.tune_passages / 1e6]
    work += [cost.encoded / 1e6, cost.flops / (tflops * 1e12 * 3600), cost.disk / 1e9]
    return [name, len(stages), len(stages) - len(costs), *work]


def _size(stage: str, sizes: Sizes) -> str:
    length = "full length is assumed" if math.isnan(sizes.pieces) else f"{sizes.pieces:.0f} word pieces each"
    parts = [f"{_number(sizes.passages)} passages ({length})"]
    known = {split: count for split, count in sizes.queries.items() if not math.isnan(count)}
    parts += [f"{_number(count)} queries of {split}" for split, count in known.items()]
    return f"{stage}, {sizes.source}: {', '.join(parts)}."


def _number(value: float) -> str:
    return "unknown" if math.isnan(value) else f"{value:,.0f}" if value >= 10 or value % 1 == 0 else f"{value:.1f}"
