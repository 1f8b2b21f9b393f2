"""What a run says of itself, wherever it is logged: configuration, tags and a name."""

from collections.abc import Mapping
from typing import Any

from bmae_lightning.runtime.stage import Context

JOB, COMPARISON = "job", "comparison"
"""What stands for a stage in the run that has all measures of a job, and in that of a sweep."""
TAGGED = ("method", "corpus", "scale", "encoder")
LONGEST_TAG, LONGEST_NAME = 64, 120
UNNAMED = ("group=", "stage=", "trainer", "corpus.", "output_dir", "logger")
"""Overrides that do not stand in the name of a job."""


def config_of(context: Context) -> dict[str, Any]:
    """The job with everything that it was made from, under flat keys where one filters or plots by them.

    `masks/decoders/enhanced/rate` for a mask (W&B takes a dot in a key for a level); `config` is the whole resolved
    configuration and `settings` that of the stage. `shared`: whether other jobs use the same result, of which this job
    was the first.
    """
    about = {"stage": context.stage, "arm": context.arm, "shared": shared(context), "result": context.directory.name}
    return facts_of(context.job) | about | {"settings": context.settings}


def facts_of(job: Mapping[str, Any]) -> dict[str, Any]:
    """The record of a job (`command/job.py`) with its masks under flat keys."""
    masks = {
        f"masks/{part.replace('.', '/')}/{name}": value
        for part, mask in job.get("masks", {}).items()
        for name, value in mask.items()
    }
    return {key: value for key, value in job.items() if key != "masks"} | masks


def shared(context: Context) -> bool:
    """Whether the stage does not depend on the pre-training of its job, so that several jobs have it."""
    return context.arm != context.job.get("name", context.arm)


def tags_of(context: Context) -> list[str]:
    """Method, collection, scale, encoder and stage, and `shared`."""
    told = [context.job.get(name) for name in TAGGED] + [context.stage] + ["shared"] * shared(context)
    return list(dict.fromkeys(str(tag)[:LONGEST_TAG] for tag in told if tag))


def name_of(context: Context) -> str:
    """Of a stage its title, of a job its arm and the overrides that it was made with."""
    if context.stage != JOB:
        return context.title
    told = [item for item in context.job.get("overrides", []) if not item.startswith(UNNAMED)]
    return " ".join([context.arm, *(item for item in told if not item.startswith("+experiment="))])[:LONGEST_NAME]


def key_of(stage: str, arm: str, job: str) -> str:
    """What keys of a stage begin with beside those of other stages: `retriever1`, `retriever1@none` for another arm."""
    return stage if arm in ("", job) else f"{stage}@{arm}"
