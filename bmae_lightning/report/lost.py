"""Jobs of a sweep without values: the rows that they have all the same, and what they lack in those of others."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

from bmae_lightning.report.content import Arm
from bmae_lightning.report.seeds import Job, seed_of, setting
from bmae_lightning.runtime.table import FAILED, NOT_RUN


def order_of(jobs: Sequence[Job], failed: Sequence[Job]) -> dict[tuple[str, ...], int]:
    """Setting -> its place by the first of its jobs, as the jobs are numbered; those without numbers as they stand."""
    every = sorted([*jobs, *failed], key=lambda job: job.get("number", math.inf))
    return {one: place for place, one in enumerate(dict.fromkeys(map(setting, every)))}


def lost_seeds(settings: Sequence[Job], failed: Sequence[Job], key: str, directories: tuple[str, ...]) -> str:
    """Which seeds a row lacks because their jobs have no values, where its node is one of an arm."""
    sharing = [one for one in settings if one["nodes"].get(key) == directories]
    found = {seed_of(job) for one in sharing for job in one["jobs"] if key in job["nodes"]}
    lost = [job for job in failed if any(setting(job) == tuple(one["overrides"]) for one in sharing)]
    states = {seed_of(job): job["state"] for job in lost if seed_of(job) not in found}
    if not states or "@" not in key:
        return ""
    told = [f"{', '.join(seed for seed in states if states[seed] == state)} {state}" for state in set(states.values())]
    return "; ".join([f"{len(found)} of {len(found) + len(states)} seeds", *sorted(told)])


def lost_rows(
    settings: Sequence[Job], failed: Sequence[Job], splits: Sequence[str]
) -> Iterator[tuple[tuple[str, ...], Arm]]:
    """The settings none of whose jobs has values, and the rows of each, in the splits of its collection."""
    finished = {tuple(one["overrides"]) for one in settings}
    lost: dict[tuple[str, ...], list[Job]] = {}
    for job in failed:
        if setting(job) not in finished:
            lost.setdefault(setting(job), []).append(job)
    common = set.intersection(*map(set, [*finished, *lost])) if lost else set()
    for overrides, jobs in lost.items():
        state = FAILED if any(job["state"] == FAILED for job in jobs) else NOT_RUN
        reasons = dict.fromkeys(job["reason"] for job in jobs if job.get("reason"))
        telling = [item for item in overrides if item not in common]
        named = jobs[0].get("name")
        name = " ".join([named, *(item for item in telling if not item.startswith("+"))] if named else telling)
        row = Arm(name or state, {}, 0, "; ".join(reasons), state=state)
        own = [split for split in splits if split.startswith(f"{jobs[0].get('collection')}/")]
        yield from ((overrides, replace(row, split=split)) for split in own or splits)
