"""A few bidirectional layers over the corrupted text with the bottleneck in slot 0: basic decoding (RetroMAE §3.2).

SimLM, MASTER and CDMAE use the same decoder with other masks, corruptions and depths.
Shapes: B passages, L positions, D width.
"""

from torch import Tensor, nn

from bmae_lightning.batch import TextBatch
from bmae_lightning.corruption.corruption import Corruption
from bmae_lightning.decoder.decoder import Decoded, Decoder, Encoded, share, with_bottleneck
from bmae_lightning.encoder.model import INITS, Encoder, key_mask
from bmae_lightning.mask.policy import MaskPolicy
from bmae_lightning.noise import Noise
from bmae_lightning.view import View


class ShallowDecoder(Decoder):
    """Recovers the labelled positions of a corrupted text from the bottleneck and the text's other tokens.

    mask, corruption, stream, span: its input, see `View`.  view: whose bottleneck.  layers: depth.
    init: 'random' or 'last_layers' (copies of the encoder's last layers, SimLM).  weight: of the loss.
    """

    def __init__(
        self,
        mask: MaskPolicy,
        corruption: Corruption,
        view: str = "passage",
        stream: str = "passage",
        span: str = "whole",
        layers: int = 1,
        init: str = "random",
        weight: float = 1.0,
    ):
        super().__init__(view, stream, span, weight)
        if layers < 1:
            raise ValueError(f"layers must be at least 1, got {layers}")
        if init not in INITS:
            raise ValueError(f"init must be one of {', '.join(INITS)}, got {init!r}")
        self.shown = View(mask, corruption, stream, span)
        self.layers = layers
        self.init = init

    def build(self, encoder: Encoder) -> None:
        self.layer: nn.ModuleList = encoder.new_layers(self.layers, self.init)

    def decode(self, encoder: Encoder, encoded: Encoded, batch: TextBatch, noise: Noise, salt: str) -> Decoded:
        text = self.shown(batch, encoder.vocabulary, noise, salt, reference=encoded.masked)
        hidden_BLD = self.read(encoder, encoded.bottleneck_BD, text.ids_BL, text.tokens.real_BL)
        content_BL = ~encoder.vocabulary.special_V[text.tokens.ids_BL]
        return Decoded(hidden_BLD, text.labels_BL, text.tokens.ids_BL, share(text.selected_BL, content_BL))

    def read(self, encoder: Encoder, bottleneck_BD: Tensor, ids_BL: Tensor, real_BL: Tensor) -> Tensor:
        """Run the layers over [bottleneck; embedded ids]."""
        hidden_BLD = with_bottleneck(bottleneck_BD, encoder.embed(ids_BL))
        visible_B11L = key_mask(real_BL)
        for layer in self.layer:
            hidden_BLD = layer(hidden_BLD, visible_B11L)
        return hidden_BLD
