"""Cross-entropy of a linear map of rows to the vocabulary, in chunks: no more than a chunk of logits exists at a time.

Gradients are made in forward, while the logits are there, which saves computing them again in backward: three products
of rows and vocabulary instead of four. The gradient of the map needs the weight of every row beforehand; if another one
arrives in backward, it is computed anew.
Shapes: N rows, D width, V vocabulary.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from bmae_lightning.encoder.vocabulary_head import VocabularyHead

TOLERANCE = 1e-5
"""Relative difference of weights that counts as rounding."""


def linear_cross_entropy(
    states_ND: Tensor, head: VocabularyHead, labels_N: Tensor, weight_N: Tensor | None = None, chunk: int = 1024
) -> Tensor:
    """-log softmax of every row at its label in nats, [N], in fp32 or wider.

    Args:
        head: whose transform is not applied any more.
        weight_N: what the gradients of the losses are expected to be proportional to, None: all alike. A wrong guess
            costs time only.
        chunk: rows of logits that exist at a time.
    """
    return _LinearCrossEntropy.apply(states_ND, head.weight_VD, head.bias_V, labels_N, weight_N, chunk)


class _LinearCrossEntropy(torch.autograd.Function):
    """Saves the gradient of each row's own loss, and that of weight and bias for the expected weights."""

    @staticmethod
    def forward(ctx, states_ND, weight_VD, bias_V, labels_N, weight_N, chunk):
        kind, own = states_ND.device.type, states_ND.dtype
        ctx.low = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) and own != torch.float64 else own
        ctx.chunk = chunk
        wide = torch.promote_types(ctx.low, torch.float32)
        loss_N = states_ND.new_empty(len(labels_N), dtype=wide)
        of_rows = torch.empty_like(states_ND) if ctx.needs_input_grad[0] else None
        sums = _Sums(weight_VD, bias_V, ctx.needs_input_grad, wide)
        for part, rows, log_p_CV in _chunks(states_ND, weight_VD, bias_V, ctx.low, chunk):
            label_C1 = labels_N[part, None]
            loss_N[part] = -log_p_CV.gather(1, label_C1)[:, 0]
            if not any(ctx.needs_input_grad[:3]):
                continue
            error_CV = _error(log_p_CV, label_C1)
            if of_rows is not None:
                of_rows[part] = (error_CV.to(ctx.low) @ weight_VD.to(ctx.low)).to(own)
            sums.add(error_CV if weight_N is None else error_CV.mul_(weight_N[part, None]), rows)
        ctx.save_for_backward(states_ND, weight_VD, bias_V, labels_N, weight_N, of_rows, sums.weight_VD, sums.bias_V)
        return loss_N

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_N):
        states_ND, weight_VD, bias_V, labels_N, weight_N, of_rows, of_weight, of_bias = ctx.saved_tensors
        if of_rows is not None:
            of_rows = (of_rows * grad_N[:, None]).to(of_rows.dtype)
        if of_weight is not None or of_bias is not None:
            factor = _common_factor(grad_N, weight_N)
            if factor is None:
                sums = _Sums(weight_VD, bias_V, ctx.needs_input_grad, grad_N.dtype)
                for part, rows, log_p_CV in _chunks(states_ND, weight_VD, bias_V, ctx.low, ctx.chunk):
                    sums.add(_error(log_p_CV, labels_N[part, None]).mul_(grad_N[part, None]), rows)
                of_weight, of_bias = sums.weight_VD, sums.bias_V
            else:
                of_weight, of_bias = (None if x is None else x * factor for x in (of_weight, of_bias))
        of_weight = None if of_weight is None else of_weight.to(weight_VD.dtype)
        of_bias = None if of_bias is None else of_bias.to(bias_V.dtype)
        return of_rows, of_weight, of_bias, None, None, None


class _Sums:
    """Gradients of weight and bias, summed over chunks in `wide`, None where none is needed."""

    def __init__(self, weight_VD: Tensor, bias_V: Tensor | None, needed: tuple[bool, ...], wide: torch.dtype) -> None:
        self.weight_VD = torch.zeros_like(weight_VD, dtype=wide) if needed[1] else None
        self.bias_V = torch.zeros_like(bias_V, dtype=wide) if needed[2] else None

    def add(self, error_CV: Tensor, rows_CD: Tensor) -> None:
        if self.weight_VD is not None and rows_CD.dtype == self.weight_VD.dtype:
            self.weight_VD.addmm_(error_CV.t(), rows_CD)
        elif self.weight_VD is not None:
            self.weight_VD += error_CV.to(rows_CD.dtype).t() @ rows_CD
        if self.bias_V is not None:
            self.bias_V += error_CV.sum(0)


def _chunks(states_ND, weight_VD, bias_V, low, chunk):
    """Of each chunk its place, its rows in `low`, and log softmax of its logits in fp32 or wider."""
    weight_DV, bias_V = weight_VD.to(low).t(), None if bias_V is None else bias_V.to(low)
    memory_CV = weight_DV.new_empty(min(chunk, len(states_ND)), weight_DV.shape[1])  # new pages are slow to come by
    for start in range(0, len(states_ND), chunk):
        part = slice(start, start + chunk)
        rows = states_ND[part].to(low)
        logits_CV = memory_CV[: len(rows)]
        with torch.autocast(states_ND.device.type, enabled=False):
            if bias_V is None:
                torch.mm(rows, weight_DV, out=logits_CV)
            else:
                torch.addmm(bias_V, rows, weight_DV, out=logits_CV)
            yield part, rows, logits_CV.to(torch.promote_types(low, torch.float32)).log_softmax(1)


def _error(log_p_CV: Tensor, label_C1: Tensor) -> Tensor:
    """The gradient of the losses with respect to the logits, in place of log_p_CV."""
    return log_p_CV.exp_().scatter_add_(1, label_C1, log_p_CV.new_full((1, 1), -1.0).expand(len(label_C1), 1))


def _common_factor(grad_N: Tensor, weight_N: Tensor | None) -> Tensor | None:
    """grad_N / weight_N if it is the same for all rows, else None.  On GPUs another one stops the program later."""
    if not len(grad_N):
        return grad_N.new_ones(())
    ratio_N = grad_N if weight_N is None else grad_N / weight_N
    same = ((ratio_N - ratio_N[0]).abs() <= TOLERANCE * ratio_N[0].abs()).all()
    if grad_N.is_cuda:
        torch._assert_async(same, "losses of one pass have other weights than expected")
        return ratio_N[0]
    return ratio_N[0] if bool(same) else None
