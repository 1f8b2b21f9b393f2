"""Vectors of all processes in rank order, with the gradient that one process with the whole batch would have.

Backward adds up what every process's loss says about a vector. With each process taking the mean loss of its own
queries against all gathered passages, DDP's average of the parameter gradients is the one-process gradient exactly.
"""

import torch
import torch.distributed as dist
from torch import Tensor


def gather_with_grad(tensor: Tensor) -> Tensor:
    """[b, ...] on each of W processes -> [W·b, ...], rank 0 first; the tensor itself where there is one process.

    All processes must pass the same shape and all must run backward.
    """
    if not (dist.is_available() and dist.is_initialized()) or dist.get_world_size() == 1:
        return tensor
    if tensor.numel() == 0:  # nothing to send, as the dense part of a purely lexical representation
        return tensor.new_empty(len(tensor) * dist.get_world_size(), *tensor.shape[1:])
    return _Gather.apply(tensor)


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, tensor: Tensor) -> Tensor:
        ctx.rows = len(tensor)
        parts = [torch.empty_like(tensor, memory_format=torch.contiguous_format) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, tensor.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        start = dist.get_rank() * ctx.rows
        return total[start : start + ctx.rows]
