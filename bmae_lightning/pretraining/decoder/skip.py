"""A short head over the late bottleneck and early token states (Condenser §3.2; SimLM's Table 7 compares with it).

Input = [bottleneck ; states after layer skip_from at positions 1..L-1], loss = masked language model on the view's own
labels: what the layers in between know must pass through the bottleneck.
Shapes: B passages, L positions, D width.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import nn

from bmae_lightning.encoder.batch import TextBatch
from bmae_lightning.encoder.borrowed import INITS, check_copies
from bmae_lightning.pretraining.decoder.decoder import Decoded, Decoder, Encoded, run_layers
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.runtime.checks import at_least, choice

if TYPE_CHECKING:
    from bmae_lightning.encoder.model import Encoder


@dataclass(kw_only=True, eq=False, repr=False)
class SkipDecoder(Decoder):
    """Recovers the view's masked tokens from its bottleneck and early states; the text is the view's own.

    view: whose states.  layers: depth.  skip_from: encoder layer of the early states (0 = embeddings), None = half of
    the encoder's depth (Condenser: 6 of 12).  weight: of the loss.  init: 'random' or 'last_layers'.
    Relations: `ShallowDecoder` with the view's own mask reads the same text, but embedded anew; use that where the
    decoder shall have another mask than the encoder.
    """

    layers: int = 2
    stream: None = field(init=False, default=None)
    span: None = field(init=False, default=None)
    skip_from: int | None = 6
    init: str = "random"

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, layers=self.layers)
        if self.skip_from is not None and self.skip_from < 0:
            raise ValueError(f"skip_from must be an encoder layer, 0 for the embeddings, got {self.skip_from}")
        choice(INITS, init=self.init)

    def fit(self, depth: int, copies: bool) -> None:
        check_copies(self.init, self.layers, depth, copies)
        if self.skip_from is not None and self.skip_from >= depth:
            raise ValueError(
                f"skip_from={self.skip_from} must be below the encoder's depth of {depth} layers; "
                f"use skip_from={depth // 2}, or null for half of the depth"
            )

    def build(self, encoder: Encoder, built: Mapping[str, Decoder]) -> None:
        depth = encoder.config.num_hidden_layers
        self.fit(depth, encoder.backbone.copies)
        self.early_layers = (depth // 2 if self.skip_from is None else self.skip_from,)
        self.layer: nn.ModuleList = encoder.new_layers(self.layers, self.init)

    def decode(self, encoder: Encoder, encoded: Encoded, batch: TextBatch, noise: Noise, salt: str) -> Decoded:
        text = encoded.masked
        layout = encoder.layout(text.tokens.real_BL)
        states_RTD = layout.pack(encoded.early[self.early_layers[0]])
        hidden_BLD = run_layers(self.layer, states_RTD, encoded.bottleneck_BD, layout)
        return Decoded(hidden_BLD, text.labels_BL, text.tokens.ids_BL, text.rate(encoder.vocabulary), text.selected_BL)
