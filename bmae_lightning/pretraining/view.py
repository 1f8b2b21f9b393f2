"""A view: which text a network is shown (stream, span), which positions are selected (mask), what becomes of them.

The encoder reads views; masked decoders build their input with one. It is the data side of all five methods.
Shapes: B passages, L positions.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from bmae_lightning.encoder.batch import TextBatch, Tokens
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.corruption.corruption import Corruption
from bmae_lightning.pretraining.kernels import dispatch as native
from bmae_lightning.pretraining.loss.vocabulary import TokenLoss
from bmae_lightning.pretraining.mask.policy import MaskPolicy
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.runtime.checks import choice, nearest

SPANS = ("whole", "first_half", "second_half")


@dataclass(frozen=True)
class MaskedText:
    """A corrupted text: its ids, labels (-100 = none) and selection, all [B, L], and where it was taken from.

    types_BL: token types, None where all are 0.  loss: of a network that the corruption trains, if it does.
    """

    ids_BL: Tensor
    labels_BL: Tensor
    selected_BL: Tensor
    tokens: Tokens
    stream: str
    span: str
    types_BL: Tensor | None = None
    loss: TokenLoss | None = None

    def selection_in(self, stream: str, span: str) -> Tensor | None:
        """selected_BL if this is a view of that very text, else None."""
        return self.selected_BL if (stream, span) == (self.stream, self.span) else None


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
        selected_BL = self.mask.select(tokens, vocabulary, noise, f"{salt}/mask", reference_BL=reference_BL)
        text = self.corruption.corrupt(tokens.ids_BL, selected_BL, vocabulary, noise, f"{salt}/corruption")
        types_BL = tokens.segments(vocabulary.sep_id) if self.segments else None
        return MaskedText(
            text.ids_BL, text.labels_BL, text.selected_BL, tokens, self.stream, self.span, types_BL, text.loss
        )


def take(batch: TextBatch, stream: str, span: str, vocabulary: Vocabulary) -> Tokens:
    """The uncorrupted text of a stream and span; ValueError for a stream that the batch does not hold."""
    if stream not in batch.streams:
        raise ValueError(f"the batch has no stream {stream!r}{nearest(stream, batch.streams)}")
    tokens = batch.streams[stream]
    return tokens if span == "whole" else half(tokens, span, vocabulary)


def half(tokens: Tokens, span: str, vocabulary: Vocabulary) -> Tokens:
    """The first n // 2 of n content tokens, or the others, between [CLS] and [SEP] of their own (MASTER)."""
    if loops := native.loops("texts", tokens.ids_BL):
        shape = (len(tokens.ids_BL), (tokens.ids_BL.shape[1] - 1) // 2 + 2)
        source_BL, ids_BL = torch.empty(shape, dtype=torch.int64), torch.empty(shape, dtype=torch.int64)
        real_BL = torch.empty(shape, dtype=torch.bool)
        loops.halve(
            native.array(tokens.ids_BL), native.array(tokens.real_BL, torch.bool), span == "second_half",
            vocabulary.pad_id, source_BL.numpy(), ids_BL.numpy(), real_BL.numpy(),
        )  # fmt: skip
        return Tokens(ids_BL, real_BL, {name: value.gather(1, source_BL) for name, value in tokens.values.items()})
    content_B1 = (tokens.real_BL.sum(1) - 2).clamp(min=0)[:, None]
    first_B1 = content_B1 // 2
    start_B1, size_B1 = (first_B1, content_B1 - first_B1) if span == "second_half" else (first_B1 * 0, first_B1)
    longest = (tokens.ids_BL.shape[1] - 1) // 2 + 2
    position_L = torch.arange(longest, device=tokens.ids_BL.device)
    source_BL = torch.where(position_L <= size_B1, start_B1 + position_L, content_B1 + 1)
    source_BL = source_BL.masked_fill(position_L == 0, 0)
    real_BL = position_L < size_B1 + 2
    ids_BL = tokens.ids_BL.gather(1, source_BL).masked_fill(~real_BL, vocabulary.pad_id)
    return Tokens(ids_BL, real_BL, {name: value.gather(1, source_BL) for name, value in tokens.values.items()})


def check_span(span: str) -> str:
    choice(SPANS, span=span)
    return span
