"""Whole-word selection on the device: words, their budget, and the one routine that takes words by priority.

This is whole-word masking as the released RetroMAE, DupMAE, SimLM and MASTER use it: shuffled words are taken up to a
budget of pieces. A policy gives a priority to every word; `select_words` does the rest.
Shapes: B passages, L positions, W word slots (= L, so that no shape depends on the data), R rows (masks per passage).
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.kernels import dispatch as native
from bmae_lightning.pretraining.noise import Noise, log, widest_float
from bmae_lightning.runtime.checks import choice
from bmae_lightning.runtime.errors import BadInput

FILLS = ("exact", "prefix", "overshoot")


@dataclass(frozen=True)
class Words:
    """word_BL: which word a position belongs to, -1 for none.  size_BW: pieces of each word, 0 in unused slots."""

    word_BL: Tensor
    size_BW: Tensor


class MaskPolicy(ABC):
    """Chooses the positions to mask. One file per policy; a policy with tensors may also be an nn.Module.

    relative: whether it relates to the selection of the encoder's view (`reference_BL`) and cannot do without.
    values: names of the `Tokens.values` it reads.
    """

    relative = False
    values: tuple[str, ...] = ()

    @abstractmethod
    def select(
        self,
        tokens: Tokens,
        vocabulary: Vocabulary,
        noise: Noise,
        salt: str,
        rows: int | None = None,
        reference_BL: Tensor | None = None,
    ) -> Tensor:
        """True at selected positions: bool [B, L], or [B, R, L] with R = rows independent draws per passage.

        reference_BL: what the encoder's view selected in the same text, for policies that relate to it; None when the
        texts differ. salt names this draw in `noise`.
        """


def group_words(tokens: Tokens, vocabulary: Vocabulary, skip_V: Tensor | None = None) -> Words:
    """Words from left to right: skipped ids are ignored, a `##` piece joins the word before it, if there is one.

    skip_V: ids that belong to no word, by default [CLS] and [SEP].
    """
    skip_V = vocabulary.skip_V if skip_V is None else skip_V
    if loops := native.loops("words", tokens.ids_BL):
        word_BL, size_BW = torch.empty_like(tokens.ids_BL), torch.zeros_like(tokens.ids_BL)
        native.spread(
            loops.group_words, len(word_BL), word_BL.numel(), *_arrays(tokens, skip_V, vocabulary),
            word_BL.numpy(), size_BW.numpy(),
        )  # fmt: skip
        return Words(word_BL, size_BW)
    piece_BL = tokens.real_BL & ~skip_V[tokens.ids_BL]
    joins_BL = vocabulary.continuation_V[tokens.ids_BL] & (piece_BL.cumsum(1) > 1)
    word_BL = (piece_BL & ~joins_BL).cumsum(1) - 1
    size_BW = torch.zeros_like(word_BL).scatter_add_(1, word_BL.clamp(min=0), piece_BL.long())
    return Words(word_BL.masked_fill(~piece_BL, -1), size_BW)


def budget(base_B: Tensor, rate: float) -> Tensor:
    """Pieces to select [B]: round(base * rate), halves to even as Python does, at least 1 and at most 512."""
    return (base_B.to(widest_float(base_B.device)) * rate).round().clamp(1, 512).long()


def first_pieces(words: Words, value_BL: Tensor) -> Tensor:
    """The value at the first piece of every word: [B, W] of value_BL [B, L]; unused slots hold anything."""
    if loops := native.loops("words", words.word_BL):
        start_BW = torch.zeros_like(words.size_BW)
        loops.first_positions(native.array(words.word_BL), start_BW.numpy())
        return value_BL.gather(1, start_BW)
    begun_BL = words.word_BL.cummax(1).values
    slot_BW = torch.arange(words.size_BW.shape[1], device=begun_BL.device).expand(words.size_BW.shape)
    start_BW = torch.searchsorted(begun_BL, slot_BW.contiguous())
    return value_BL.gather(1, start_BW.clamp(max=value_BL.shape[1] - 1))


def encoder_selection(reference_BL: Tensor | None, mask: str) -> Tensor:
    """reference_BL, or BadInput if there is none; mask names the policy that cannot do without."""
    if reference_BL is None:
        raise BadInput(
            f"the {mask} mask relates to what the encoder's view selected in the same text, but there is no such view "
            "here; give the decoder the stream and span of its view, or choose another mask"
        )
    return reference_BL


def check_fill(fill: str) -> str:
    choice(FILLS, fill=fill)
    return fill


def select_words(words: Words, priority: Tensor, budget_B: Tensor, fill: str = "exact") -> Tensor:
    """Whole words in falling priority up to budget_B pieces: bool [B, (R,) L] for priority [B, (R,) W].

    fill 'exact': a word longer than what is left is skipped and the next is tried; 'prefix': selection ends there;
    'overshoot': that word is taken whole and selection ends, so only here can more than budget_B be selected.
    """
    check_fill(fill)
    rowless = priority.ndim == 2
    priority_BRW = priority[:, None] if rowless else priority
    if loops := native.loops("words", priority):
        mask_BRL = torch.empty((*priority_BRW.shape[:2], words.word_BL.shape[1]), dtype=torch.bool)
        native.spread(
            loops.select_words, len(mask_BRL), mask_BRL.numel(), native.array(priority_BRW, torch.float64),
            native.array(words.word_BL), native.array(words.size_BW), native.array(budget_B), FILLS.index(fill),
            mask_BRL.numpy(),
        )  # fmt: skip
        return mask_BRL[:, 0] if rowless else mask_BRL
    shape = priority_BRW.shape
    order_BRW = priority_BRW.masked_fill((words.size_BW == 0)[:, None], -torch.inf).argsort(
        dim=-1, descending=True, stable=True
    )
    size_BRW = words.size_BW.int()[:, None].expand(shape).gather(-1, order_BRW)
    room_BR1 = budget_B.int()[:, None, None].expand(*shape[:2], 1)
    if fill == "prefix":
        taken_BRW = (size_BRW > 0) & (size_BRW.cumsum(-1) <= room_BR1)
    elif fill == "overshoot":
        taken_BRW = (size_BRW > 0) & (size_BRW.cumsum(-1) - size_BRW < room_BR1)
    else:
        taken_BRW = _take_what_fits(size_BRW, room_BR1)
    chosen_BRW = torch.zeros_like(taken_BRW).scatter_(-1, order_BRW, taken_BRW)
    word_BRL = words.word_BL[:, None].expand(*shape[:2], -1)
    mask_BRL = chosen_BRW.gather(-1, word_BRL.clamp(min=0)) & (word_BRL >= 0)
    return mask_BRL[:, 0] if rowless else mask_BRL


def draw_words(
    tokens: Tokens,
    vocabulary: Vocabulary,
    noise: Noise,
    salt: str,
    budget_B: Tensor,
    fill: str = "exact",
    rows: int | None = None,
    skip_V: Tensor | None = None,
) -> Tensor:
    """Whole words in random order, all orders equally likely, up to budget_B pieces: bool [B, (R,) L].

    This is `select_words` on `group_words` by `noise.uniform(salt, L, rows)`, in one pass on the CPU.
    """
    check_fill(fill)
    skip_V = vocabulary.skip_V if skip_V is None else skip_V
    if loops := native.loops("words", tokens.ids_BL):
        mask_BRL = torch.empty((len(tokens.ids_BL), rows or 1, tokens.ids_BL.shape[1]), dtype=torch.bool)
        native.spread(
            loops.draw_words, len(mask_BRL), mask_BRL.numel(), noise.key_bits(salt),
            *_arrays(tokens, skip_V, vocabulary), native.array(budget_B), FILLS.index(fill), mask_BRL.numpy(),
        )  # fmt: skip
        return mask_BRL[:, 0] if rows is None else mask_BRL
    words = group_words(tokens, vocabulary, skip_V)
    return select_words(words, noise.uniform(salt, words.size_BW.shape[1], rows), budget_B, fill)


def race_words(
    words: Words,
    log_weight_BW: Tensor,
    noise: Noise,
    salt: str,
    budget_B: Tensor,
    fill: str = "overshoot",
    rows: int | None = None,
) -> Tensor:
    """Weighted sampling of words without replacement: bool [B, (R,) L].

    A word arrives after an exponential time with its weight as rate, and words are taken as they arrive; log_weight_BW:
    natural logarithms of the weights, float64.
    """
    check_fill(fill)
    if loops := native.loops("words", words.word_BL):
        mask_BRL = torch.empty((len(words.word_BL), rows or 1, words.word_BL.shape[1]), dtype=torch.bool)
        native.spread(
            loops.race_words, len(mask_BRL), 2 * mask_BRL.numel(), noise.key_bits(salt),
            native.array(log_weight_BW, torch.float64), native.array(words.word_BL), native.array(words.size_BW),
            native.array(budget_B), FILLS.index(fill), mask_BRL.numpy(),
        )  # fmt: skip
        return mask_BRL[:, 0] if rows is None else mask_BRL
    log_arrival = log(-log(noise.uniform(salt, words.size_BW.shape[1], rows)))
    log_weight = log_weight_BW if rows is None else log_weight_BW[:, None]
    return select_words(words, log_weight - log_arrival, budget_B, fill)


def _arrays(tokens: Tokens, skip_V: Tensor, vocabulary: Vocabulary) -> list[np.ndarray]:
    """What the compiled loops read to find words."""
    flags = (tokens.real_BL, skip_V, vocabulary.continuation_V)
    return [native.array(tokens.ids_BL), *(native.array(flag, torch.bool) for flag in flags)]


def _take_what_fits(size_BRW: Tensor, room_BR1: Tensor) -> Tensor:
    """The skip-if-too-long rule in a few passes instead of one step per word.

    A pass takes the longest run of words that fit one by one. The word that ends the run was longer than the room then
    left, so every pass leaves less than the size of some word, and two or three passes are the rule.
    """
    taken_BRW = torch.zeros_like(size_BRW, dtype=torch.bool)
    while True:
        fits_BRW = (size_BRW > 0) & ~taken_BRW & (size_BRW <= room_BR1)
        run_BRW = fits_BRW & ((size_BRW * fits_BRW).cumsum(-1, dtype=torch.int32) <= room_BR1)
        if not bool(run_BRW.any()):
            return taken_BRW
        taken_BRW |= run_BRW
        room_BR1 = room_BR1 - (size_BRW * run_BRW).sum(-1, keepdim=True, dtype=torch.int32)
