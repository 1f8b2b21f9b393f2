"""Tell replaced tokens from original ones (ELECTRA's objective, in SimLM's Table 7 as "Enc-Dec RTD")."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import Tensor

from bmae_lightning.pretraining.loss.detection import detection_loss
from bmae_lightning.pretraining.loss.vocabulary import TokenLoss
from bmae_lightning.pretraining.objective.objective import Objective
from bmae_lightning.pretraining.view import MaskedText

if TYPE_CHECKING:
    from bmae_lightning.encoder.model import Encoder


class ReplacedObjective(Objective):
    """Binary cross-entropy at every non-special position; the head is the encoder's detector."""

    uses_head = False

    def build(self, encoder: Encoder) -> None:
        encoder.detector()

    def loss(self, encoder: Encoder, hidden_BLD: Tensor, text: MaskedText) -> TokenLoss:
        content_BL = ~encoder.vocabulary.special_V[text.tokens.ids_BL]
        return detection_loss(hidden_BLD, text.ids_BL != text.tokens.ids_BL, content_BL, encoder.detector())
