"""Bag-of-words prediction: vocabulary logits max-pooled over positions against the set of a text's tokens.

DupMAE §3.1, Eq. 5-8: -sum over distinct tokens of w log softmax(max_i logits_i). Logits exist for a few positions at a
time; in backward they are recomputed and only the position that won a vocabulary entry receives gradient.
Shapes: B passages, L positions, C positions of a chunk, D width, V vocabulary, T positions of the target.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from bmae_lightning.loss.vocabulary import IGNORED, TokenLoss

NORMALISE = ("length", "none")


def bag_of_words_loss(
    hidden_BLD: Tensor,
    pooled_BL: Tensor,
    labels_BT: Tensor,
    head: Callable[[Tensor], Tensor],
    normalise: str = "length",
    chunk: int = 1024,
) -> TokenLoss:
    """Sum over passages of the cross-entropy between pooled logits and the set of labels, in nats, fp32 or wider.

    hidden_BLD: states for the head.  pooled_BL: positions that take part.  labels_BT: ids, repeats allowed, -100 = none.
    normalise: 'length' weighs every distinct id by 1 / number of labels (repeats counted, DupMAE's code), 'none' by 1.
    chunk: rows per call of the head.  The count is the number of passages with a label and a pooled position; others
    have no loss, and without any the gradient is zero but present.
    """
    if normalise not in NORMALISE:
        raise ValueError(f"normalise must be one of {', '.join(NORMALISE)}, got {normalise!r}")
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


def max_pool(hidden_BLD: Tensor, pooled_BL: Tensor, head: Callable[[Tensor], Tensor], chunk: int = 1024) -> Tensor:
    """Maximum of head(hidden) over the pooled positions [B, V]; -inf where a passage has none.

    Of equal logits the first position wins and alone receives the gradient. Above `chunk` rows the head runs on a few
    positions at a time and again in backward; what is kept between is one boolean [B, V] per chunk.
    """

    def best_of(hidden_BCD: Tensor, pooled_BC: Tensor) -> Tensor:
        return head(hidden_BCD).masked_fill(~pooled_BC[:, :, None], float("-inf")).max(1).values

    batch, length = pooled_BL.shape
    step = max(1, chunk // max(1, batch))
    if step >= length:
        return best_of(hidden_BLD, pooled_BL)
    mu_BV: Tensor | None = None
    for hidden_BCD, pooled_BC in zip(hidden_BLD.split(step, 1), pooled_BL.split(step, 1), strict=True):
        best_BV = checkpoint(best_of, hidden_BCD, pooled_BC, use_reentrant=False, preserve_rng_state=False)
        mu_BV = best_BV if mu_BV is None else torch.where(best_BV > mu_BV, best_BV, mu_BV)
    return mu_BV
