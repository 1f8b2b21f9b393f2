"""Cross-entropy over the vocabulary at labelled positions only: the masked-language-model loss of encoder and decoders.

Labelled rows are gathered before the head, so no [B, L, V] logits exist.
Shapes: B passages, L positions, D width, N labelled rows.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from bmae_lightning.encoder.vocabulary_head import VocabularyHead
from bmae_lightning.pretraining.loss.linear_cross_entropy import linear_cross_entropy

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


def vocabulary_loss(hidden_BLD: Tensor, labels_BL: Tensor, head: VocabularyHead, chunk: int = 1024) -> TokenLoss:
    """Sums of -log softmax(head(hidden))[label] over the labelled positions (label != -100), in fp32 or wider.

    chunk: rows of logits that exist at a time, see `linear_cross_entropy`.
    Without labels the loss is 0 and its gradient is zero but present, so that DDP sees every parameter used.
    Relations: `bag_of_words_loss` for a set of ids without positions, `detection_loss` for replaced tokens.
    """
    labelled_BL = labels_BL != IGNORED
    states_ND = head.transform(hidden_BLD[labelled_BL])
    count_B1 = labelled_BL.sum(1, keepdim=True)
    weight_N = (1.0 / count_B1).expand(labelled_BL.shape)[labelled_BL] if head.by_passage else None
    return per_passage(linear_cross_entropy(states_ND, head, labels_BL[labelled_BL], weight_N, chunk), labelled_BL)


def per_passage(loss_N: Tensor, labelled_BL: Tensor) -> TokenLoss:
    """Losses of the labelled positions, in their order, summed by passage."""
    total_B = loss_N.new_zeros(len(labelled_BL)).index_add(0, labelled_BL.nonzero()[:, 0], loss_N)
    return TokenLoss(total_B, labelled_BL.sum(1))
