"""Encoders kept along a pre-training (SimLM Figure 3, MASTER Figure 3a): where they lie, and which ones are there."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bmae_lightning.runtime.errors import BadInput

MOST_LISTED = 12


def snapshot(directory: Path, step: int | None) -> Path:
    """Where the encoder of a pre-training in `directory` lies after `step` steps, None for its end."""
    return directory / ("" if step is None else f"step-{step}") / "encoder"


def check_step(step: Any) -> int | None:
    """`pretrain_step` of the configuration.

    Raises:
        BadInput: it is neither null nor a number of steps.
    """
    if step is not None and (not isinstance(step, int) or isinstance(step, bool) or step < 0):
        raise BadInput(f"pretrain_step={step} must be a number of steps, 0 for no pre-training, null for the end")
    return step


def check_kept(step: int, options: dict[str, Any], directory: Path, done: bool) -> None:
    """Refuse a step whose encoder was not kept, or will not be.

    Args:
        step: asked for.
        options: of the pretrain stage.
        directory: where it writes.
        done: whether it is finished, so that the files tell; otherwise the options do.

    Raises:
        BadInput: names the kept ones, or what to set.
    """
    every, steps = options.get("keep_every"), options.get("steps")
    if not every:
        raise BadInput(
            f"pretrain_step={step}, but pretrain.keep_every is null, so that only the last encoder is kept: set "
            f"pretrain.keep_every={step}"
        )
    if done:
        found = directory.glob("step-*[0-9]/encoder")
        kept: Sequence[int] = sorted(int(path.parent.name.removeprefix("step-")) for path in found)
    elif steps is None and step % every == 0:
        return  # how many steps the epochs make shows when the corpus is prepared
    else:
        kept = range(every, (steps or every * (MOST_LISTED + 1)) + 1, every)
    if step not in kept:
        listed = ", ".join(map(str, kept[:MOST_LISTED])) + (", ..." if len(kept) > MOST_LISTED else "")
        raise BadInput(
            f"pretrain_step={step} is not kept: pretrain.keep_every={every} keeps {listed or 'none'}; choose one of "
            "them"
        )
