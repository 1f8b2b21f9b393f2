"""Passages of which a mask can select nothing, as of one long word: all their words are longer than its budget.

Such a passage brings no loss where the labels are what the mask selects. Shapes: B passages, L positions.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from bmae_lightning.pretraining.mask.policy import MaskRequest
from bmae_lightning.runtime.process import print_once, process_rank
from bmae_lightning.runtime.progress import track
from bmae_lightning.stage.streams import PassageBatches

if TYPE_CHECKING:
    from torch import Tensor

    from bmae_lightning.encoder.batch import TextBatch
    from bmae_lightning.encoder.vocabulary import Vocabulary
    from bmae_lightning.pretraining.decoder.decoder import Decoder
    from bmae_lightning.pretraining.view import View

CHUNK = 4096
"""Passages looked at at a time."""


def unmaskable(
    views: Mapping[str, View], decoders: Mapping[str, Decoder], batch: TextBatch, vocabulary: Vocabulary
) -> dict[str, Tensor]:
    """Key of a mask -> where a passage has content of which no draw selects any: bool [B].

    views: those that are encoded.
    """
    from bmae_lightning.pretraining.noise import Noise
    from bmae_lightning.pretraining.view import take

    noise, selectable, found = Noise(0, batch.epoch_B, batch.passage_B), {}, {}
    parts = {f"view.{name}": view for name, view in views.items()}
    for key, part in (parts | {f"decoders.{name}": decoder for name, decoder in decoders.items()}).items():
        if (mask := getattr(part, "mask", None)) is not None:
            tokens = take(batch, part.stream, part.span, vocabulary)
            reference_BL = selectable.get((f"view.{getattr(part, 'view', '')}", part.stream, part.span))
            request = MaskRequest(tokens, vocabulary, noise, key, reference_BL=reference_BL)
            selectable_BL = selectable[key, part.stream, part.span] = mask.selectable(request)
            found[f"{key}.mask"] = request.content_BL.any(1) & ~(selectable_BL & request.content_BL).any(1)
    return found


def count_unmaskable(
    views: Mapping[str, View], decoders: Mapping[str, Decoder], batches: PassageBatches, passages: int, title: str
) -> dict[str, int]:
    """How many passages each mask can select nothing of, without those of which it is none; one line says each.

    A text that is cut at random places is looked at as in its first epoch. The first process looks for all.
    """
    import torch

    if process_rank() != 0:
        return {}
    streams = {name: replace(stream, values=()) for name, stream in batches.streams.items()}
    batches, counts = replace(batches, streams=streams), Counter()
    with track(f"{title}: looking for passages that no mask fits", passages, unit="passages") as advance:
        for first in range(0, passages, CHUNK):
            row_B = torch.arange(first, min(first + CHUNK, passages))
            for key, none_B in unmaskable(views, decoders, batches.of(row_B, row_B * 0), batches.vocabulary).items():
                counts[key] += int(none_B.sum())
            advance(len(row_B))
    for key, count in (+counts).items():
        print_once(f"{title}: {count:,} of {passages:,} passages have no word that fits {key}, which masks none there")
    return dict(+counts)
