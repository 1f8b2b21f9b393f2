"""Dropout that costs a CPU less: four numbers of 16 bits from each draw of torch's generator instead of a draw each.

Rates are multiples of 2^-16, which the scale of what is kept takes into account. On other devices it is torch's.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional

STEPS = 1 << 16


class Dropout(nn.Dropout):
    """`nn.Dropout` by `dropout`."""

    def forward(self, input: Tensor) -> Tensor:
        return dropout(input, self.p) if self.training else input


def dropout(x: Tensor, rate: float) -> Tensor:
    """x with a share `rate` of its elements 0 and the others scaled up, whatever its shape.

    The draws come from torch's generator, so that whoever keeps its state repeats them.
    """
    dropped = round(rate * STEPS)
    if not x.is_cpu or not 0 < dropped < STEPS or torch.compiler.is_compiling():
        return functional.dropout(x, rate)
    return _Dropout.apply(x, dropped)


def with_cheap_dropout(module: nn.Module) -> None:
    """Make every `nn.Dropout` in `module` a `Dropout` of the same rate."""
    for part in module.modules():
        if type(part) is nn.Dropout:
            part.__class__ = Dropout


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, dropped):
        draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(1 << 63), None)
        kept = (draws.view(torch.int16)[: x.numel()] >= dropped - STEPS // 2).view(x.shape)
        ctx.scale = STEPS / (STEPS - dropped)
        ctx.save_for_backward(kept)
        return torch.ops.aten.native_dropout_backward(x, kept, ctx.scale)

    @staticmethod
    def backward(ctx, grad):
        (kept,) = ctx.saved_tensors
        return torch.ops.aten.native_dropout_backward(grad, kept, ctx.scale), None
