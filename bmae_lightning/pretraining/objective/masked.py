"""Predict the labelled tokens of the view: BERT's masked language model, the encoder's own loss in all five methods.

With replaced tokens and labels everywhere it is SimLM's replaced language modelling (Eq. 1-2).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from bmae_lightning.pretraining.loss.vocabulary import TokenLoss, vocabulary_loss
from bmae_lightning.pretraining.objective.objective import Objective
from bmae_lightning.pretraining.view import MaskedText

if TYPE_CHECKING:
    from bmae_lightning.encoder.model import Encoder


class MaskedObjective(Objective):
    """Cross-entropy over the vocabulary at the positions that the view's corruption labels."""

    def loss(self, encoder: Encoder, hidden_BLD: Tensor, text: MaskedText) -> TokenLoss:
        return vocabulary_loss(hidden_BLD, text.labels_BL, encoder.head)
