"""A linear classifier or regressor on the last [CLS] state of an encoder; all weights are trained (BERT, section 4.1).

Shapes: P texts or pairs of texts, C outputs.
"""

import numpy as np
import torch
from torch import Tensor, nn

from bmae_lightning.encoder.batch import Pairs
from bmae_lightning.encoder.model import Encoder


class Classifier(nn.Module):
    """encoder: whose layers are trained, without its head.  outputs: one per class, or 1 for a grade."""

    def __init__(self, encoder: Encoder, outputs: int) -> None:
        super().__init__()
        encoder.freeze_head()
        self.encoder = encoder
        self.dropout = nn.Dropout(encoder.dropout)
        self.linear = encoder.new_linear(encoder.width, outputs)

    def forward(self, pairs: Pairs) -> Tensor:
        """Scores [P, C]."""
        return self.linear(self.dropout(self.encoder(pairs.ids_PL, pairs.real_PL, pairs.types_PL)[:, 0]))

    def predict(self, pairs: Pairs) -> Tensor:
        """Classes or grades [P], float32."""
        scores_PC = self(pairs)
        return scores_PC[:, 0].float() if scores_PC.shape[1] == 1 else scores_PC.argmax(1).float()


def classifier_loss(scores_PC: Tensor, label_P: Tensor) -> Tensor:
    """Mean cross-entropy of classes, or mean squared error of grades."""
    if scores_PC.shape[1] == 1:
        return nn.functional.mse_loss(scores_PC[:, 0], label_P)
    return nn.functional.cross_entropy(scores_PC, label_P.long())


def cut_longer(first: np.ndarray, second: np.ndarray, room: int) -> tuple[np.ndarray, np.ndarray]:
    """Both texts, together at most `room` ids: the end of the longer one goes first, as in BERT's code."""
    keep = max(room - len(second), room - room // 2)
    first = first[:keep]
    return first, second[: room - len(first)]


def single(ids_PL: Tensor, real_PL: Tensor) -> Pairs:
    """Single texts in the form of pairs: all of type 0."""
    return Pairs(ids_PL, real_PL, torch.zeros_like(ids_PL))
