"""Cross-entropy over the vocabulary at labelled positions only: the masked-language-model loss of encoder and decoders.

Labelled rows are gathered before the head, so no [B, L, V] logits exist; long row lists are computed in chunks.
Shapes: B passages, L positions, D width, V vocabulary, N labelled rows.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from torch.utils.checkpoint import checkpoint

IGNORED = -100


@dataclass(frozen=True)
class TokenLoss:
    """total_B: sum of the losses of each passage in nats (with gradient).  count_B: how many labels it sums over."""

    total_B: Tensor
    count_B: Tensor

    @property
    def total(self) -> Tensor:
        """Sum over the batch (scalar)."""
        return self.total_B.sum()

    @property
    def count(self) -> Tensor:
        """Labels in the batch (int64 scalar)."""
        return self.count_B.sum()


def vocabulary_loss(
    hidden_BLD: Tensor, labels_BL: Tensor, head: Callable[[Tensor], Tensor], chunk: int = 1024
) -> TokenLoss:
    """Sums of -log softmax(head(hidden))[label] over the labelled positions (label != -100), in fp32 or wider.

    head: logits [N, V] of rows [N, D].  Above `chunk` rows logits are recomputed, chunk by chunk, in backward.
    Without labels the loss is 0 and its gradient is zero but present, so that DDP sees every parameter used.
    Relations: `bag_of_words_loss` for a set of ids without positions, `detection_loss` for replaced tokens.
    """
    labelled_BL = labels_BL != IGNORED
    rows_ND, labels_N = hidden_BLD[labelled_BL], labels_BL[labelled_BL]

    def loss_of(rows_ND: Tensor, labels_N: Tensor) -> Tensor:
        logits_NV = head(rows_ND)
        wide = torch.float64 if logits_NV.dtype == torch.float64 else torch.float32
        return cross_entropy(logits_NV.to(wide), labels_N, reduction="none")

    if len(labels_N) <= chunk:
        loss_N = loss_of(rows_ND, labels_N)
    else:
        parts = [
            checkpoint(loss_of, rows, labels, use_reentrant=False, preserve_rng_state=False)
            for rows, labels in zip(rows_ND.split(chunk), labels_N.split(chunk), strict=True)
        ]
        loss_N = torch.cat(parts)
    return per_passage(loss_N, labelled_BL)


def per_passage(loss_N: Tensor, labelled_BL: Tensor) -> TokenLoss:
    """Losses of the labelled positions, in their order, summed by passage."""
    total_B = loss_N.new_zeros(len(labelled_BL)).index_add(0, labelled_BL.nonzero()[:, 0], loss_N)
    return TokenLoss(total_B, labelled_BL.sum(1))
