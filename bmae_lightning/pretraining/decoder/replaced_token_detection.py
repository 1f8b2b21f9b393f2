"""A shallow decoder that tells replaced tokens from original ones instead of naming them (SimLM Table 7, Enc-Dec RTD).

Its head is the encoder's detector, shared by both sides.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from torch import Tensor

from bmae_lightning.encoder.batch import TextBatch
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.pretraining.decoder.decoder import Decoded, Decoder, Encoded
from bmae_lightning.pretraining.decoder.shallow import ShallowDecoder
from bmae_lightning.pretraining.loss.detection import detection_loss
from bmae_lightning.pretraining.loss.vocabulary import TokenLoss
from bmae_lightning.pretraining.noise import Noise


@dataclass(frozen=True)
class Detected(Decoded):
    """shown_BL: the ids that the decoder read."""

    shown_BL: Tensor | None = None


class ReplacedTokenDetectionDecoder(ShallowDecoder):
    """As `ShallowDecoder`, with binary cross-entropy at every non-special position."""

    uses_head = False

    def build(self, encoder: Encoder, built: Mapping[str, Decoder]) -> None:
        super().build(encoder, built)
        encoder.detector()

    def decode(self, encoder: Encoder, encoded: Encoded, batch: TextBatch, noise: Noise, salt: str) -> Detected:
        text, decoded = self.show(encoder, encoded, batch, noise, salt)
        return Detected(**vars(decoded), shown_BL=text.ids_BL)

    def loss(self, encoder: Encoder, decoded: Detected) -> TokenLoss:
        content_BL = ~encoder.vocabulary.special_V[decoded.original_BL]
        replaced_BL = decoded.shown_BL != decoded.original_BL
        return detection_loss(decoded.hidden_BLD, replaced_BL, content_BL, encoder.detector())

    def rebuilt(self, encoder: Encoder, decoded: Detected) -> None:
        """It names no tokens, so there is no text."""
        return
