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

from bmae_lightning.corruption.corruption import IGNORED


@dataclass(frozen=True)
class TokenLoss:
    """total: sum of the losses in nats (scalar, with gradient).  count: how many labels it sums over (int64 scalar)."""

    total: Tensor
    count: Tensor


def vocabulary_loss(
    hidden_BLD: Tensor, labels_BL: Tensor, head: Callable[[Tensor], Tensor], chunk: int = 1024
) -> TokenLoss:
    """Sum of -log softmax(head(hidden))[label] over the labelled positions (label != -100), in fp32 or wider.

    head: logits [N, V] of rows [N, D].  Above `chunk` rows logits are recomputed, chunk by chunk, in backward.
    Without labels the loss is 0 and its gradient is zero but present, so that DDP sees every parameter used.
    """
    labelled_BL = labels_BL != IGNORED
    rows_ND, labels_N = hidden_BLD[labelled_BL], labels_BL[labelled_BL]
    count = torch.tensor(len(labels_N), device=labels_BL.device)

    def loss_of(rows_ND: Tensor, labels_N: Tensor) -> Tensor:
        logits_NV = head(rows_ND)
        wide = torch.float64 if logits_NV.dtype == torch.float64 else torch.float32
        return cross_entropy(logits_NV.to(wide), labels_N, reduction="sum")

    if len(labels_N) <= chunk:
        return TokenLoss(loss_of(rows_ND, labels_N), count)
    parts = [
        checkpoint(loss_of, rows, labels, use_reentrant=False, preserve_rng_state=False)
        for rows, labels in zip(rows_ND.split(chunk), labels_N.split(chunk), strict=True)
    ]
    return TokenLoss(torch.stack(parts).sum(), count)
