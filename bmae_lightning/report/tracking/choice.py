"""From `logger=` to what tracks: one logger, several of them as `logger=[wandb,csv]`, or none."""

from typing import Any

from bmae_lightning.report.tracking.loggers import Several, Tracking
from bmae_lightning.report.tracking.wandb import WandbTracking


def make_tracking(
    each: dict[str, Tracking] | None = None,
    wandb: bool = False,
    project: str | None = None,
    entity: str | None = None,
    mode: str | None = None,
    tags: Any = None,
    upload: bool = False,
) -> Tracking:
    """What `conf/logger/` chooses; the files of a list of choices are merged, so every choice has a key of its own.

    Args:
        each: name -> a choice that has no options of W&B, `{csv: {_target_: …}}`; one of your own too.
        wandb: whether W&B is among the choices; the others are options of `WandbTracking`.

    Raises:
        ValueError: a choice that tracks nothing, or a wrong option.
    """
    choices = dict(each or {})
    for name, choice in choices.items():
        if not isinstance(choice, Tracking):
            raise ValueError(f"each.{name} must be a Tracking (with a _target_), got {choice!r}")
    if wandb:
        choices = {"wandb": WandbTracking(project, entity, mode, tags, upload), **choices}
    return Several(choices.values())
