"""What is behind the rows of a report: what each took, and how each was made, down to the command that repeats it."""

import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from bmae_lightning.report.content import Arm, Origin, Report
from bmae_lightning.runtime.mean import Mean, mean_of
from bmae_lightning.runtime.table import Column, Table, is_number, printable

SUMS = (
    "Times are sums over all stages that a row depends on; stages that rows share are counted in each, reports in none."
)
DEVICES = (
    "Device hours and peak memory are those of GPUs where a row used any, and what processors did beside them is in "
    "the time taken alone; else those of processors, where memory is what was resident of a stage's first process."
)
ENERGY = "Wh: drawn by the GPUs meanwhile, whoever used them."
AT_LEAST = "at least: a stage was killed once, or has no record"
SPREAD = "±: standard deviation over the seeds."
UNITS = (("h", 3600.0), ("min", 60.0), ("s", 1.0))
COMMIT_DIGITS = 10


def behind_tables(report: Report) -> list[Table]:
    """The tables of cost and of origins, those of which something is known."""
    arms = list({arm.name: arm for arm in [*report.arms, *report.behind][::-1] if arm.origins}.values())[::-1]
    tables = []
    if any(origin.seconds is not None for arm in arms for origin in arm.origins):
        tables.append(_cost(arms))
    if any(origin.job for arm in arms for origin in arm.origins):
        tables.append(_origins(arms))
    return tables


def _cost(arms: Sequence[Arm]) -> Table:
    def column(name: str, of: Callable[[Origin], float | None], group: str = "") -> tuple[Column, list[Any]]:
        values = [_mean(map(of, arm.origins)) for arm in arms]
        return Column(name, _format(values), group=group), values

    found = [
        column("pre-training", lambda origin: origin.passages_per_second, "passages/s"),
        column("encoding", lambda origin: origin.encodes_per_second, "passages/s"),
        column("device hours", lambda origin: origin.device_hours),
        column("peak GiB", lambda origin: origin.peak_gib),
        column("Wh", lambda origin: origin.watt_hours),
        (Column("started"), [min(_time(origin) for origin in arm.origins) for arm in arms]),
        _took(arms),
    ]
    known = [(about, values) for about, values in found if any(value not in (None, "") for value in values)]
    rows = [[_row(arm), *(values[i] for _, values in known)] for i, arm in enumerate(arms)]
    notes = [SUMS, DEVICES, *[ENERGY] * any(about.name == "Wh" for about, _ in known)]
    notes += [SPREAD] * any(len(arm.origins) > 1 for arm in arms)
    return Table("Cost", ["row", *(about for about, _ in known)], rows, notes=notes)


def _origins(arms: Sequence[Arm]) -> Table:
    runs = [(printable(arm.name), origin) for arm in arms for origin in arm.origins]
    heads = ["row", "fingerprint", "commit", "device", "date", "seed", "encoder", "scale", "masks and rates"]
    rows = [
        [
            name, origin.fingerprint, _short(origin.commit), origin.device, origin.started[:10],
            *(_text(origin.job.get(key)) for key in ("seed", "encoder", "scale")),
            masks_in_words(origin.job.get("masks", {})), origin.job.get("command", ""),
        ]
        for name, origin in runs
    ]  # fmt: skip
    return Table("Behind the rows", [*heads, Column("command", code=True)], rows, notes=_versions(runs))


def masks_in_words(masks: dict[str, dict[str, Any]]) -> str:
    """`encoder uniform 0.3; enhanced uniform 0.5` for the masks of a job (`command/job.py`)."""
    views = [part for part in masks if part.startswith("view.")]

    def words(part: str, mask: dict[str, Any]) -> str:
        name = part.partition(".")[2]
        place = name if part not in views else "encoder" if len(views) == 1 else f"encoder {name}"
        policy = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", mask["policy"].removesuffix("Mask")).lower()
        return " ".join(filter(None, [place, policy, _text(mask.get("rate"))]))

    return "; ".join(words(part, mask) for part, mask in masks.items())


def _versions(runs: Sequence[tuple[str, Origin]]) -> list[str]:
    """The versions that all rows have, then those in which they differ, with the rows of each."""
    common, notes = [], []
    for package in dict.fromkeys(name for _, origin in runs for name in origin.versions):
        rows: dict[str, dict[str, None]] = {}
        for row, origin in runs:
            rows.setdefault(origin.versions.get(package, "unknown"), {})[row] = None
        if len(rows) == 1:
            common.append(f"{package} {next(iter(rows))}")
        else:
            apart = "; ".join(f"{version} in {', '.join(of)}" for version, of in rows.items())
            notes.append(f"Rows differ in {package}: {apart}.")
    return [*([f"Versions: {', '.join(common)}."] if common else []), *notes]


def _row(arm: Arm) -> str:
    seeds = ", ".join(_text(origin.job.get("seed")) for origin in arm.origins)
    lines = [printable(arm.name)] + [f"mean over seeds {seeds}"] * (len(arm.origins) > 1)
    return "\n".join(lines + [AT_LEAST] * any(not origin.complete for origin in arm.origins))


def _mean(values: Iterable[float | None]) -> float | None:
    """The mean over runs, None where one of them does not know it."""
    known = list(values)
    return None if any(value is None for value in known) else mean_of([value for value in known if value is not None])


def _took(arms: Sequence[Arm]) -> tuple[Column, list[Any]]:
    """In hours, minutes or seconds, whatever suits the longest."""
    seconds = [_mean(origin.seconds for origin in arm.origins) for arm in arms]
    longest = max((value for value in seconds if value is not None), default=0.0)
    unit, each = next(((unit, each) for unit, each in UNITS if longest >= 2 * each), UNITS[-1])
    values = [value.scaled(1 / each) if isinstance(value, Mean) else value and value / each for value in seconds]
    return Column(f"took, {unit}", _format(values)), values


def _format(values: Sequence[Any]) -> str:
    """Three digits of the highest value, four behind the point at most."""
    highest = max((abs(value) for value in values if is_number(value)), default=0)
    return f",.{min(4, max(0, 2 - math.floor(math.log10(highest)))) if highest else 0}f"


def _time(origin: Origin) -> str:
    return origin.started[:16].replace("T", " ")


def _short(commits: str | None) -> str:
    return ", ".join(
        commit[:COMMIT_DIGITS] + "-dirty" * commit.endswith("-dirty") for commit in (commits or "").split(", ")
    )


def _text(value: Any) -> str:
    return "" if value is None else f"{value}"
