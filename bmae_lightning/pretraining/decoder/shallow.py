"""A few bidirectional layers over the corrupted text with the bottleneck in slot 0: basic decoding (RetroMAE §3.2).

SimLM, MASTER and CDMAE use the same decoder with other masks, corruptions, streams and depths.
Shapes: B passages, L positions, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bmae_lightning.encoder.batch import TextBatch
from bmae_lightning.encoder.borrowed import INITS, check_copies
from bmae_lightning.pretraining.corruption.corruption import Corruption
from bmae_lightning.pretraining.decoder.decoder import Decoded, Decoder, Encoded, run_layers
from bmae_lightning.pretraining.mask.policy import MaskPolicy
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.pretraining.view import View
from bmae_lightning.runtime.checks import at_least, choice, nearest

if TYPE_CHECKING:
    from bmae_lightning.encoder.model import Encoder


@dataclass(kw_only=True, eq=False, repr=False)
class ShallowDecoder(Decoder):
    """Recovers the labelled positions of a corrupted text from the bottleneck and the text's other tokens.

    mask, corruption, stream, span: its input, see `View`.  view: whose bottleneck.  layers: depth.
    init: 'random' or 'last_layers' (copies of the encoder's last layers, SimLM).  weight: of the loss.
    layers_of: name of an earlier shallow decoder whose layers it shares (MASTER's Table 6), with their depth and init.
    projection: a linear map of its own on the bottleneck (CDMAE §3.1).
    Relations: `EnhancedDecoder` gives every position a mask of its own and needs one layer only; `SkipDecoder` reads
    early states of the encoder instead of an embedded text; `ReplacedTokenDetectionDecoder` has the same layers,
    another loss.
    """

    mask: MaskPolicy = field(kw_only=False)
    corruption: Corruption = field(kw_only=False)
    layers: int = 1
    init: str = "random"
    layers_of: str | None = None
    projection: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, layers=self.layers)
        choice(INITS, init=self.init)

    @property
    def shown(self) -> View:
        """The view of the text that the layers read."""
        return View(self.mask, self.corruption, self.stream, self.span)

    def fit(self, depth: int, copies: bool) -> None:
        check_copies(self.init, self.layers, depth, copies)

    def build(self, encoder: Encoder, built: Mapping[str, Decoder]) -> None:
        """Raises ValueError where layers_of names no earlier decoder with layers of its own."""
        owners = [name for name, other in built.items() if isinstance(other, ShallowDecoder) and not other.layers_of]
        if self.layers_of is None:
            self.layer = encoder.new_layers(self.layers, self.init)
            self.stack = (self.layer,)
        elif self.layers_of in owners:
            self.stack = (built[self.layers_of].layer,)  # in a tuple, so that only one decoder owns the parameters
        else:
            raise ValueError(
                f"layers_of={self.layers_of!r} is no earlier shallow decoder with layers of its own"
                f"{nearest(self.layers_of, owners)}"
            )
        encoder.need_positions()
        self.project = encoder.new_linear(encoder.width, encoder.width) if self.projection else nn.Identity()

    def decode(self, encoder: Encoder, encoded: Encoded, batch: TextBatch, noise: Noise, salt: str) -> Decoded:
        with torch.no_grad():  # ids and labels; a corruption with a network learns from the encoder's views only
            text = self.shown(batch, encoder.vocabulary, noise, salt, reference=encoded.masked)
        hidden_BLD = self.read(encoder, encoded.bottleneck_BD, text.ids_BL, text.tokens.real_BL)
        rate = text.rate(encoder.vocabulary)
        return Decoded(hidden_BLD, text.labels_BL, text.tokens.ids_BL, rate, text.selected_BL, text.ids_BL)

    def read(self, encoder: Encoder, bottleneck_BD: Tensor, ids_BL: Tensor, real_BL: Tensor) -> Tensor:
        """Run the layers over [bottleneck; embedded ids] [B, L, D]."""
        layout = encoder.layout(real_BL)
        states_RTD = encoder.embed(layout.pack(ids_BL), layout.position_RT)
        return run_layers(self.stack[0], states_RTD, self.project(bottleneck_BD), layout)
