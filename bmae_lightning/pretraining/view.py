"""A view: which text a network is shown (stream, span), which positions are selected (mask), what becomes of them.

The encoder reads views; masked decoders build their input with one. It is the data side of all five methods.
Shapes: B passages, L positions, H positions of a half.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bmae_lightning.encoder.batch import TextBatch, Tokens
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.corruption.corruption import Corrupted, Corruption
from bmae_lightning.pretraining.kernels.dispatch import compiled_twin
from bmae_lightning.pretraining.mask.policy import MaskPolicy, MaskRequest
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.runtime.checks import choice, nearest

SPANS = ("whole", "first_half", "second_half")


@dataclass(frozen=True, kw_only=True)
class MaskedText(Corrupted):
    """A corrupted text, and where it was taken from.

    tokens: the text before.  types_BL: token types, None where all are 0.
    """

    tokens: Tokens
    stream: str
    span: str
    types_BL: Tensor | None = None

    def selection_in(self, stream: str, span: str) -> Tensor | None:
        """selected_BL if this is a view of that very text, else None."""
        return self.selected_BL if (stream, span) == (self.stream, self.span) else None

    def rate(self, vocabulary: Vocabulary) -> Tensor:
        """The share of the tokens that are not special which the mask selected (scalar, 0 if there is none)."""
        content_BL = ~vocabulary.special_V[self.tokens.ids_BL]
        return share(self.selected_BL, content_BL)


class View(nn.Module):
    """stream: name of the text in the batch.  span: 'whole', 'first_half' (n // 2 of n content tokens), 'second_half'.

    segments: give token type 1 to what follows an inner [SEP] (SimLM's title and text), else all are 0.
    alone: the encoder's own objective learns from this view even where no decoder reads its bottleneck.
    """

    def __init__(
        self,
        mask: MaskPolicy,
        corruption: Corruption,
        stream: str = "passage",
        span: str = "whole",
        segments: bool = False,
        alone: bool = True,
    ):
        super().__init__()
        self.mask = mask
        self.corruption = corruption
        self.stream = stream
        self.span = check_span(span)
        self.segments = segments
        self.alone = alone

    def forward(
        self, batch: TextBatch, vocabulary: Vocabulary, noise: Noise, salt: str, reference: MaskedText | None = None
    ) -> MaskedText:
        """Mask and corrupt this view's text; reference is the encoder's masked text, which some masks relate to."""
        tokens = take(batch, self.stream, self.span, vocabulary)
        reference_BL = reference.selection_in(self.stream, self.span) if reference is not None else None
        request = MaskRequest(tokens, vocabulary, noise, f"{salt}/mask", reference_BL=reference_BL)
        selected_BL = self.mask.select(request)[:, 0]
        text = self.corruption.corrupt(tokens.ids_BL, selected_BL, vocabulary, noise, f"{salt}/corruption")
        types_BL = tokens.segments(vocabulary.sep_id) if self.segments else None
        return MaskedText(**vars(text), tokens=tokens, stream=self.stream, span=self.span, types_BL=types_BL)


def take(batch: TextBatch, stream: str, span: str, vocabulary: Vocabulary) -> Tokens:
    """The uncorrupted text of a stream and span; ValueError for a stream that the batch does not hold."""
    if stream not in batch.streams:
        raise ValueError(f"the batch has no stream {stream!r}{nearest(stream, batch.streams)}")
    tokens = batch.streams[stream]
    return tokens if span == "whole" else half(tokens, span, vocabulary)


def half(tokens: Tokens, span: str, vocabulary: Vocabulary) -> Tokens:
    """The first n // 2 of n content tokens, or the others, between [CLS] and [SEP] of their own (MASTER)."""
    source_BH, ids_BH, real_BH = halve(tokens.ids_BL, tokens.real_BL, span == "second_half", vocabulary.pad_id)
    return Tokens(ids_BH, real_BH, {name: value.gather(1, source_BH) for name, value in tokens.values.items()})


@compiled_twin
def halve(ids_BL: Tensor, real_BL: Tensor, second: bool, pad_id: int) -> tuple[Tensor, Tensor, Tensor]:
    """Where each position of the half comes from, its ids, and where they are real, all [B, H]."""
    content_B1 = (real_BL.sum(1) - 2).clamp(min=0)[:, None]
    first_B1 = content_B1 // 2
    start_B1, size_B1 = (first_B1, content_B1 - first_B1) if second else (first_B1 * 0, first_B1)
    position_H = torch.arange((ids_BL.shape[1] - 1) // 2 + 2, device=ids_BL.device)
    source_BH = torch.where(position_H <= size_B1, start_B1 + position_H, content_B1 + 1)
    source_BH = source_BH.masked_fill(position_H == 0, 0)
    real_BH = position_H < size_B1 + 2
    return source_BH, ids_BL.gather(1, source_BH).masked_fill(~real_BH, pad_id), real_BH


def share(part: Tensor, whole: Tensor) -> Tensor:
    """Number of True in part over that in whole (scalar, 0 if there is none)."""
    return part.sum() / whole.sum().clamp(min=1)


def check_span(span: str) -> str:
    choice(SPANS, span=span)
    return span
