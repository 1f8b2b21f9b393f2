"""A view: which text a network is shown (stream, span), which positions are selected (mask), what becomes of them.

The encoder reads views; masked decoders build their input with one. It is the data side of all five methods.
Shapes: B passages, L positions.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from torch import Tensor, nn

from bmae_lightning.batch import TextBatch, Tokens
from bmae_lightning.corruption.corruption import Corruption
from bmae_lightning.mask.policy import MaskPolicy
from bmae_lightning.noise import Noise
from bmae_lightning.vocabulary import Vocabulary

SPANS = ("whole",)


@dataclass(frozen=True)
class MaskedText:
    """A corrupted text: its ids, labels (-100 = none) and selection, all [B, L], and where it was taken from."""

    ids_BL: Tensor
    labels_BL: Tensor
    selected_BL: Tensor
    tokens: Tokens
    stream: str
    span: str

    def selection_in(self, stream: str, span: str) -> Tensor | None:
        """selected_BL if this is a view of that very text, else None."""
        return self.selected_BL if (stream, span) == (self.stream, self.span) else None


class View(nn.Module):
    """stream: name of the text in the batch.  span: the part of it, 'whole' for all of it."""

    def __init__(self, mask: MaskPolicy, corruption: Corruption, stream: str = "passage", span: str = "whole"):
        super().__init__()
        self.mask = mask
        self.corruption = corruption
        self.stream = stream
        self.span = check_span(span)

    def forward(
        self, batch: TextBatch, vocabulary: Vocabulary, noise: Noise, salt: str, reference: MaskedText | None = None
    ) -> MaskedText:
        """Mask and corrupt this view's text; reference is the encoder's masked text, which some masks relate to."""
        tokens = take(batch, self.stream, self.span)
        reference_BL = reference.selection_in(self.stream, self.span) if reference is not None else None
        selected_BL = self.mask.select(tokens, vocabulary, noise, f"{salt}/mask", reference_BL=reference_BL)
        text = self.corruption.corrupt(tokens.ids_BL, selected_BL, vocabulary, noise, f"{salt}/corruption")
        return MaskedText(text.ids_BL, text.labels_BL, text.selected_BL, tokens, self.stream, self.span)


def take(batch: TextBatch, stream: str, span: str) -> Tokens:
    """The uncorrupted text of a stream and span; ValueError for a stream that the batch does not hold."""
    if stream not in batch.streams:
        raise ValueError(f"the batch has no stream {stream!r}; {nearest(stream, batch.streams)}")
    return batch.streams[stream]


def check_span(span: str) -> str:
    if span not in SPANS:
        raise ValueError(f"span must be one of {', '.join(SPANS)}, got {span!r}")
    return span


def nearest(name: str, known: Iterable[str]) -> str:
    """The end of an error message about an unknown name: the most similar known one, or all of them."""
    close = get_close_matches(name, list(known), n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(sorted(known)) or 'none'}"
