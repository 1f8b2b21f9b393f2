"""Encoders kept along a pre-training (SimLM Figure 3, MASTER Figure 3a): where they lie, and which ones are there."""

import math
from pathlib import Path
from typing import Any

from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import read_json

MOST_LISTED = 12


def in_steps(step: float, steps: int) -> int:
    """A number of steps, or a share of all `steps` (below 1), as a number of steps, at least one."""
    return max(1, round(round(step * steps, 6))) if 0 < step < 1 else int(step)


def kept_steps(every: float, steps: int) -> list[int]:
    """The steps after which an encoder is kept: every so many, or below 1 every such share of all `steps`."""
    if every >= 1:
        return list(range(int(every), steps + 1, int(every)))
    return sorted({in_steps(number * every, steps) for number in range(1, math.ceil(1 / every - 1e-9))})


def snapshot(directory: Path, step: float | None) -> Path:
    """Where the encoder of a pre-training in `directory` lies after `step` steps, None for its end.

    A share of the steps (below 1) is found only where the pre-training is finished.
    """
    if step is not None and 0 < step < 1:
        step = in_steps(step, read_json(directory / "metrics.json")["step"])
    return directory / ("" if step is None else f"step-{step}") / "encoder"


def check_step(step: Any) -> float | None:
    """`pretrain_step` of the configuration.

    Raises:
        BadInput: it is neither null nor a number of steps or a share of them.
    """
    whole = isinstance(step, int) and not isinstance(step, bool) and step >= 0
    if step is not None and not whole and not (isinstance(step, float) and 0 < step < 1):
        raise BadInput(
            f"pretrain_step={step} must be a number of steps, 0 for no pre-training, below 1 a share of the steps, or "
            "null for the end"
        )
    return step


def check_kept(step: float, options: dict[str, Any], directory: Path, done: bool) -> None:
    """Refuse a step whose encoder was not kept, or will not be.

    Args:
        step: asked for; below 1 a share of the steps.
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
        steps = read_json(directory / "metrics.json")["step"] if 0 < step < 1 else None
        found = directory.glob("step-*[0-9]/encoder")
        kept = sorted(int(path.parent.name.removeprefix("step-")) for path in found)
    elif steps is None:
        times = step / every  # how many steps the epochs make shows when the corpus is prepared
        if (step < 1) != (every < 1) or abs(times - round(times)) < 1e-6:
            return
        kept = [every * number for number in range(1, MOST_LISTED + 2)]
    else:
        kept = kept_steps(every, steps)
    if (in_steps(step, steps) if steps else step) not in kept:
        listed = ", ".join(map(str, kept[:MOST_LISTED])) + (", ..." if len(kept) > MOST_LISTED else "")
        raise BadInput(
            f"pretrain_step={step} is not kept: pretrain.keep_every={every} keeps {listed or 'none'}; choose one of "
            "them"
        )
