"""What a decoder is: it reads the bottleneck and a weakened text, and its loss says how badly it recovers the text.

Decoders share the encoder's embeddings and head and own only their layers, so their gradient reaches the encoder's
layers through the bottleneck alone.
Shapes: B passages, L positions, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from bmae_lightning.encoder.batch import TextBatch, Tokens
from bmae_lightning.pretraining.loss.vocabulary import IGNORED, TokenLoss, vocabulary_loss
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.pretraining.view import MaskedText, check_span

if TYPE_CHECKING:
    from bmae_lightning.encoder.layout import Layout
    from bmae_lightning.encoder.model import Encoder


@dataclass(frozen=True)
class Encoded:
    """One encoder pass: hidden_BLD (last layer), bottleneck_BD, the masked text it read, and early layers asked for."""

    hidden_BLD: Tensor
    bottleneck_BD: Tensor
    masked: MaskedText
    early: Mapping[int, Tensor] = field(default_factory=dict)


@dataclass(frozen=True)
class Decoded:
    """hidden_BLD: states for the head.  labels_BL: ids to recover, -100 = none.  original_BL: the text.

    rate: realised share of content tokens that were selected or hidden (scalar).  masked_BL: how far each position of
    the text was hidden (0 to 1), None where it is not this text that is hidden.  shown_BL: ids that the layers read,
    None for decoders without a corrupted text.
    """

    hidden_BLD: Tensor
    labels_BL: Tensor
    original_BL: Tensor
    rate: Tensor
    masked_BL: Tensor | None = None
    shown_BL: Tensor | None = None


@dataclass(kw_only=True, eq=False, repr=False)
class Decoder(nn.Module, ABC):
    """A decoder is a dataclass of its options; `build` makes its layers once there is an encoder.

    view: the encoder's view whose bottleneck is read.  stream, span: the text to recover, None for the view's own.
    weight: of its loss.  Of the class: uses_head: whether it names tokens by the encoder's vocabulary head.
    reads_bottleneck: False for one that reads other states only.  early_layers: encoder layers whose states it reads.
    """

    view: str = "passage"
    stream: str | None = "passage"
    span: str | None = "whole"
    weight: float = 1.0

    early_layers = ()
    uses_head = True
    reads_bottleneck = True

    def __new__(cls, *options, **named):
        """A module before the fields are set, so that a field may hold a module."""
        decoder = super().__new__(cls)
        nn.Module.__init__(decoder)
        return decoder

    def __post_init__(self) -> None:
        if not 0 <= self.weight < float("inf"):
            raise ValueError(f"weight must be a number of at least 0, got {self.weight}")
        self.weight = float(self.weight)
        if self.span is not None:
            check_span(self.span)

    def fit(self, depth: int, copies: bool) -> None:  # noqa: B027  most decoders fit any encoder
        """Raise ValueError where this decoder cannot be built on an encoder of `depth` layers; see `check_copies`."""

    @property
    def names_tokens(self) -> bool:
        """Whether its loss maps states to the vocabulary, by the encoder's head unless it says otherwise."""
        return self.uses_head

    def check_norm(self, norm: str, key: str) -> None:  # noqa: B027  most losses can be summed and averaged
        """Raise ValueError where its loss does not go with losses that are normalised so; key: of the decoder."""

    @abstractmethod
    def build(self, encoder: Encoder, built: Mapping[str, Decoder]) -> None:
        """Make this decoder's own parameters; built: the decoders before it, by name."""

    @abstractmethod
    def decode(self, encoder: Encoder, encoded: Encoded, batch: TextBatch, noise: Noise, salt: str) -> Decoded:
        """Weaken the text and run the layers; salt names this decoder's draws in `noise`."""

    def loss(self, encoder: Encoder, decoded: Decoded) -> TokenLoss:
        """By default: name the labelled tokens."""
        return vocabulary_loss(decoded.hidden_BLD, decoded.labels_BL, encoder.head)

    def forward(self, encoder: Encoder, encoded: Encoded, batch: TextBatch, noise: Noise, salt: str) -> TokenLoss:
        return self.loss(encoder, self.decode(encoder, encoded, batch, noise, salt))

    def rebuilt(self, encoder: Encoder, decoded: Decoded) -> Tensor | None:
        """The text [B, L] with the most likely id at labelled positions; None for decoders that order no tokens."""
        return guess(encoder, decoded.hidden_BLD, decoded.labels_BL, decoded.original_BL)


def guess(encoder: Encoder, hidden_BLD: Tensor, labels_BL: Tensor, original_BL: Tensor) -> Tensor:
    """original_BL with the head's most likely id at labelled positions."""
    labelled_BL = labels_BL != IGNORED
    ids_BL = original_BL.clone()
    ids_BL[labelled_BL] = encoder.head(hidden_BLD[labelled_BL]).argmax(-1)
    return ids_BL


def run_layers(layers: Iterable[nn.Module], states_RTD: Tensor, bottleneck_BD: Tensor, layout: Layout) -> Tensor:
    """Bidirectional layers over rows whose slot 0 is the bare bottleneck, without a position or type of its own.

    Returns [B, L, D].
    """
    states_RTD = layout.with_first(states_RTD, bottleneck_BD)
    for layer in layers:
        states_RTD = layer(states_RTD, layout.mask_B11L, **layout.options)
    return layout.unpack(states_RTD)


def content_labels(tokens: Tokens) -> Tensor:
    """Every id between the outer [CLS] and [SEP] is a label, [UNK] included; -100 elsewhere [B, L]."""
    inner_BL = tokens.real_BL & tokens.real_BL.roll(-1, 1)
    inner_BL[:, 0] = inner_BL[:, -1] = False
    return torch.where(inner_BL, tokens.ids_BL, IGNORED)
