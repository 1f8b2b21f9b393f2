"""A shallow decoder that tells replaced tokens from original ones instead of naming them (SimLM Table 7, Enc-Dec RTD).

Its head is the encoder's detector, shared by both sides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from bmae_lightning.pretraining.decoder.decoder import Decoded, Decoder
from bmae_lightning.pretraining.decoder.shallow import ShallowDecoder
from bmae_lightning.pretraining.loss.detection import detection_loss
from bmae_lightning.pretraining.loss.vocabulary import TokenLoss

if TYPE_CHECKING:
    from bmae_lightning.encoder.model import Encoder


class ReplacedTokenDetectionDecoder(ShallowDecoder):
    """As `ShallowDecoder`, with binary cross-entropy at every non-special position.

    Relations: `ReplacedObjective` is the same loss on the encoder's side; a corruption that replaces nothing (`hide`)
    makes every masked position a replaced one.
    """

    uses_head = False

    def build(self, encoder: Encoder, built: Mapping[str, Decoder]) -> None:
        super().build(encoder, built)
        encoder.detector()

    def loss(self, encoder: Encoder, decoded: Decoded) -> TokenLoss:
        content_BL = ~encoder.vocabulary.special_V[decoded.original_BL]
        replaced_BL = decoded.shown_BL != decoded.original_BL
        return detection_loss(decoded.hidden_BLD, replaced_BL, content_BL, encoder.detector())

    def rebuilt(self, encoder: Encoder, decoded: Decoded) -> None:
        """It names no tokens, so there is no text."""
        return
