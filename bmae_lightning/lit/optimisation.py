"""AdamW and the linear schedule: options first, made once parameters and steps are known."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

from bmae_lightning.runtime.checks import choice
from bmae_lightning.runtime.shares import exact

if TYPE_CHECKING:
    import torch
    from torch import nn

GROWTHS = ("linear", "logarithm")


class AdamW:
    """AdamW with decoupled weight decay on matrices only; biases and LayerNorm parameters do not decay, as in BERT.

    Args:
        betas, eps: as in `torch.optim.AdamW`.
        fused: one kernel for the whole update (about five times faster than the loop on CPU).
    """

    def __init__(self, betas: list[float], eps: float = 1e-8, fused: bool = True) -> None:
        if len(betas) != 2 or not all(0 <= beta < 1 for beta in betas):
            raise ValueError(f"betas must be two numbers in [0, 1), got {betas}")
        self.betas, self.eps, self.fused = (betas[0], betas[1]), eps, fused

    def make(self, module: nn.Module, lr: float, weight_decay: float) -> torch.optim.Optimizer:
        """The optimiser of all parameters of `module` that need a gradient."""
        import torch

        parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
        groups = [
            {"params": [p for p in parameters if p.dim() > 1], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.dim() <= 1], "weight_decay": 0.0},
        ]
        optimiser = torch.optim.AdamW(
            [g for g in groups if g["params"]], lr=lr, betas=self.betas, eps=self.eps, fused=self.fused
        )
        # Lightning refuses to clip under mixed precision where the fused kernel would undo the loss scaling itself.
        optimiser._step_supports_amp_scaling = False
        return optimiser


class LinearSchedule:
    """Learning rate from 0 to its peak at the last warm-up step, then linearly to 0 at the last step.

    Args:
        growth: of the rate during warm-up: `linear` in the step, or in its `logarithm` (DeepSpeed's WarmupDecayLR).
    """

    def __init__(self, growth: str = "linear") -> None:
        choice(GROWTHS, growth=growth)
        self.growth = growth

    def make(self, optimiser: torch.optim.Optimizer, steps: int, warmup: float) -> torch.optim.lr_scheduler.LambdaLR:
        """The schedule in optimiser steps; `warmup` below 1 is a share of `steps`, otherwise a number of steps."""
        import torch

        warm = round(exact(warmup) * steps) if warmup < 1 else int(warmup)

        def factor(step: int) -> float:
            if step < warm and self.growth == "logarithm":
                return math.log(step + 1) / math.log(max(2, warm))
            if step < warm:
                return step / warm
            return max(0.0, (steps - step) / max(1, steps - warm))

        return torch.optim.lr_scheduler.LambdaLR(optimiser, factor)


class Optimisation(NamedTuple):
    """How a model is trained.

    Attributes:
        optim, schedule: makers of the optimiser and of its learning-rate schedule.
        lr: peak learning rate.
        weight_decay: of matrices.
        warmup: steps of warm-up; below 1 a share of `steps`.
        steps: of the schedule, at least as many as are trained.
    """

    optim: AdamW
    schedule: LinearSchedule
    lr: float
    weight_decay: float
    warmup: float
    steps: int

    def make(self, module: nn.Module) -> dict[str, Any]:
        """What Lightning's `configure_optimizers` returns for the parameters of `module`."""
        optimiser = self.optim.make(module, self.lr, self.weight_decay)
        schedule = self.schedule.make(optimiser, self.steps, self.warmup)
        return {"optimizer": optimiser, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def number_of_steps(steps: int | None, epochs: float | None, items: int, batch_size: int) -> int:
    """Optimiser steps from either `steps` or `epochs` over `items`.

    Raises:
        ValueError: both or neither given, or not positive.
    """
    if (steps is None) == (epochs is None):
        raise ValueError(f"give either steps or epochs, got steps={steps} and epochs={epochs}")
    total = steps if steps is not None else -(-exact(epochs) * items // batch_size)
    if total < 1:
        raise ValueError(f"steps={steps} epochs={epochs} make no step; one is the least")
    return total
