"""List-wise loss of a cross-encoder: soft-max cross-entropy of the positive inside its group.

With the two additions of SimLM's released code (docs/finetuning.md §3.4): R-Drop over two passes, and
training on the best-scored passages only.
Shapes: B queries, n passages of a query (positive first), K of them kept.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F


class Listwise(NamedTuple):
    """loss: what is optimised, cross_entropy + divergence.  cross_entropy: mean over queries (and over two passes).

    divergence: R-Drop's part, 0 with one pass.  first: share of queries whose positive scores highest, detached.
    """

    loss: Tensor
    cross_entropy: Tensor
    divergence: Tensor
    first: Tensor


def listwise_loss(scores_Bn: Tensor, temperature: float = 1.0, again_Bn: Tensor | None = None) -> Listwise:
    """Cross-entropy of the positive (column 0) against the other passages of its query, in float32 or wider.

    scores_Bn: raw scores; they are divided by the temperature.
    again_Bn: scores of a second pass with other dropout: loss = ½(CE₁ + CE₂) + ½(KL(1‖2) + KL(2‖1)), KL averaged over
    queries (R-Drop).

    Raises:
        ValueError: temperature not positive.
    """
    if temperature <= 0:
        raise ValueError(f"temperature must be above 0, got {temperature}")
    passes = [_log_shares(scores_Bn, temperature)]
    if again_Bn is not None:
        passes.append(_log_shares(again_Bn, temperature))
    cross_entropy = -torch.stack([log_Bn[:, 0].mean() for log_Bn in passes]).mean()
    divergence = torch.zeros_like(cross_entropy)
    if again_Bn is not None:
        one_Bn, two_Bn = passes
        both = [F.kl_div(q, p, reduction="batchmean", log_target=True) for p, q in ((one_Bn, two_Bn), (two_Bn, one_Bn))]
        divergence = torch.stack(both).mean()
    first = (scores_Bn.detach().argmax(dim=1) == 0).to(cross_entropy.dtype).mean()
    return Listwise(cross_entropy + divergence, cross_entropy, divergence, first)


def _log_shares(scores_Bn: Tensor, temperature: float) -> Tensor:
    wide = torch.float64 if scores_Bn.dtype == torch.float64 else torch.float32
    return (scores_Bn.to(wide) / temperature).log_softmax(1)


def hardest(scores_Bn: Tensor, keep: int) -> Tensor:
    """Columns [B, K] of the positive, always first, and of the K - 1 best-scored other passages, falling.

    Raises:
        ValueError: keep outside 1 .. n.
    """
    if not 1 <= keep <= scores_Bn.shape[1]:
        raise ValueError(f"keep must lie between 1 and the group of {scores_Bn.shape[1]} passages, got {keep}")
    others_BK = scores_Bn[:, 1:].topk(keep - 1, dim=1).indices + 1
    return torch.cat([others_BK.new_zeros(len(scores_Bn), 1), others_BK], dim=1)
