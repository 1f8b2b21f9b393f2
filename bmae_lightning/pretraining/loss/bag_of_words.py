"""Bag-of-words prediction: vocabulary logits max-pooled over positions against the set of a text's tokens.

DupMAE §3.1, Eq. 5-8: -sum over distinct tokens of w log softmax(max_i logits_i). Logits exist for a few positions at a
time; only the position that won a vocabulary entry receives gradient.
Shapes: B passages, L positions, N pooled rows, C rows of a chunk, D width, V vocabulary, T positions of the target.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn.functional import embedding_bag, linear, pad

from bmae_lightning.encoder.vocabulary_head import VocabularyHead
from bmae_lightning.pretraining.loss.vocabulary import IGNORED, TokenLoss
from bmae_lightning.runtime.checks import choice

NORMALISE = ("length", "none")


def bag_of_words_loss(
    hidden_BLD: Tensor,
    pooled_BL: Tensor,
    labels_BT: Tensor,
    head: VocabularyHead,
    normalise: str = "length",
    chunk: int = 1024,
) -> TokenLoss:
    """Sum over passages of the cross-entropy between pooled logits and the set of labels, in nats, fp32 or wider.

    hidden_BLD: states for the head.  pooled_BL: positions that take part.  labels_BT: ids (repeats allowed), -100 for
    none.
    normalise: 'length' weighs every distinct id by 1 / number of labels (repeats counted, DupMAE's code), 'none' by 1.
    chunk: rows of logits that exist at a time.  The count is the number of passages with a label and a pooled position;
    others have no loss, and without any the gradient is zero but present.
    Relations: `vocabulary_loss` asks for the id at a position, this loss for the ids anywhere in the text.
    """
    choice(NORMALISE, normalise=normalise)
    labelled_BT = labels_BT != IGNORED
    used_B = labelled_BT.any(1) & pooled_BL.any(1)
    mu_BV = max_pool(hidden_BLD, pooled_BL, head, chunk).masked_fill(~used_B[:, None], 0.0)
    mu_BV = mu_BV.to(torch.float64 if mu_BV.dtype == torch.float64 else torch.float32)

    sorted_BT = labels_BT.sort(1).values
    distinct_BT = (sorted_BT != IGNORED) & used_B[:, None]
    distinct_BT[:, 1:] &= sorted_BT[:, 1:] != sorted_BT[:, :-1]
    entropy_BT = mu_BV.logsumexp(1, keepdim=True) - mu_BV.gather(1, sorted_BT.clamp(min=0))
    weight_BT = distinct_BT.float()
    if normalise == "length":
        weight_BT = weight_BT / labelled_BT.sum(1, keepdim=True).clamp(min=1).float()
    return TokenLoss((weight_BT * entropy_BT).sum(1), used_B.long())


def max_pool(hidden_BLD: Tensor, pooled_BL: Tensor, head: VocabularyHead, chunk: int = 1024) -> Tensor:
    """Maximum of head(hidden) over the pooled positions [B, V]; -inf where a passage has none.

    Of equal logits the first position wins and alone receives the gradient.  chunk: rows of logits that exist at a
    time.
    """
    states_ND = head.transform(hidden_BLD[pooled_BL])
    return _MaxPool.apply(states_ND, pooled_BL.sum(1), head.weight_VD, head.bias_V, chunk)


class _MaxPool(torch.autograd.Function):
    """An entry of the result depends on one state and one row of the weight alone.

    Backward therefore adds up as many products as entries have a gradient, at most B V instead of N V, and needs no
    logits again.
    """

    @staticmethod
    def forward(ctx, states_ND, size_B, weight_VD, bias_V, chunk):
        wanted = weight_VD.new_empty(len(size_B), len(weight_VD), dtype=states_ND.dtype)
        if torch.is_autocast_enabled(states_ND.device.type):
            wanted = wanted.to(torch.get_autocast_dtype(states_ND.device.type))
        best_BV = wanted.fill_(float("-inf"))
        winner_BV = torch.zeros(best_BV.shape, dtype=torch.int32, device=states_ND.device)
        ends = size_B.cumsum(0).tolist()
        for start in range(0, len(states_ND), chunk):
            logits_CV = linear(states_ND[start : start + chunk], weight_VD, bias_V)
            stop = start + len(logits_CV)
            for passage in range(bisect_right(ends, start), bisect_left(ends, stop) + 1):
                first = max(start, ends[passage - 1] if passage else 0)
                if first == ends[passage]:
                    continue
                value_V, index_V = logits_CV[first - start : ends[passage] - start].max(0)
                better_V = value_V > best_BV[passage]
                best_BV[passage] = torch.where(better_V, value_V, best_BV[passage])
                winner_BV[passage] = torch.where(better_V, (index_V + first).int(), winner_BV[passage])
        ctx.save_for_backward(states_ND, weight_VD, bias_V, winner_BV)
        return best_BV

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_BV):
        states_ND, weight_VD, bias_V, winner_BV = ctx.saved_tensors
        passage_N, entry_N = grad_BV.nonzero(as_tuple=True)
        row_N = winner_BV[passage_N, entry_N].long()
        wide = torch.promote_types(weight_VD.dtype, torch.float32)
        grad_N = grad_BV[passage_N, entry_N].to(wide)
        grad_state = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_state = _weighted_sums(row_N, len(states_ND), entry_N, grad_N, weight_VD.to(wide)).to(states_ND.dtype)
        if ctx.needs_input_grad[2]:
            rows_ND = states_ND.to(wide)
            grad_weight = _weighted_sums(entry_N, len(weight_VD), row_N, grad_N, rows_ND).to(weight_VD.dtype)
        if ctx.needs_input_grad[3]:
            grad_bias = grad_BV.to(wide).sum(0).to(bias_V.dtype)
        return grad_state, None, grad_weight, grad_bias, None


def _weighted_sums(sum_N: Tensor, count: int, row_N: Tensor, weight_N: Tensor, table_RD: Tensor) -> Tensor:
    """For every s < count the sum of weight_n table[row_n] over the n with sum_n = s, [count, D]."""
    order_N = sum_N.argsort(stable=True)
    offsets = pad(torch.bincount(sum_N, minlength=count).cumsum(0), (1, 0))
    return embedding_bag(
        row_N[order_N], table_RD, offsets, mode="sum", per_sample_weights=weight_N[order_N], include_last_offset=True
    )
