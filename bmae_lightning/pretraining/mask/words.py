"""Whole-word masking: which pieces make a word, how many may be masked, and taking words until so many are.

This is whole-word masking as the released RetroMAE, DupMAE, SimLM and MASTER use it: shuffled words are taken up to a
budget of pieces. A policy gives every word a priority, `select_words` does the rest; `draw_words` and `race_words` make
the two usual kinds of random priorities themselves.
Shapes: B passages, R rows (masks per passage), L positions, V vocabulary, W word slots (= L, so that no shape depends
on the data).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bmae_lightning.corpus.statistics.words import CLOSED, CONTINUES
from bmae_lightning.pretraining.kernels.dispatch import compiled_twin
from bmae_lightning.pretraining.mask.policy import MaskRequest
from bmae_lightning.runtime.checks import choice

if TYPE_CHECKING:
    from torch import Tensor

    from bmae_lightning.encoder.batch import Tokens
    from bmae_lightning.encoder.vocabulary import Vocabulary

FILLS = ("exact", "prefix", "overshoot")


@dataclass(frozen=True)
class Words:
    """word_BL: which word a position belongs to, -1 for none.  size_BW: pieces of each word, 0 in unused slots."""

    word_BL: Tensor
    size_BW: Tensor


def group_words(tokens: Tokens, vocabulary: Vocabulary, skip_V: Tensor | None = None, unit: str = "word") -> Words:
    """Words from left to right: skipped ids are ignored, a piece that continues a word joins the one before.

    skip_V: ids that belong to no word, by default [CLS] and [SEP].  unit: 'piece' makes every piece a word.
    """
    skip_V = vocabulary.skip_V if skip_V is None else skip_V
    return Words(*find_words(tokens.ids_BL, tokens.real_BL, skip_V, joining(vocabulary, unit)))


def joining(vocabulary: Vocabulary, unit: str) -> Tensor:
    """How ids join their neighbours, see `WordRules`: uint8 [V]."""
    return vocabulary.joint_V * (unit == "word")


def fitting(words: Words, budget_B: Tensor) -> Tensor:
    """Where the words stand that are no longer than the budget: bool [B, L]."""
    fits_BW = words.size_BW <= budget_B[:, None]
    return fits_BW.gather(1, words.word_BL.clamp(min=0)) & (words.word_BL >= 0)


@compiled_twin
def find_words(ids_BL: Tensor, real_BL: Tensor, skip_V: Tensor, joint_V: Tensor) -> tuple[Tensor, Tensor]:
    """The fields of `Words`."""
    import torch

    piece_BL = real_BL & ~skip_V[ids_BL]
    joint_BL = joint_V[ids_BL]
    closed_BL = torch.nn.functional.pad(joint_BL[:, :-1] & CLOSED, (1, 0)) > 0
    joins_BL = (joint_BL & CONTINUES > 0) & ~closed_BL & (piece_BL.cumsum(1) > 1)
    word_BL = (piece_BL & ~joins_BL).cumsum(1) - 1
    size_BW = torch.zeros_like(word_BL).scatter_add_(1, word_BL.clamp(min=0), piece_BL.long())
    return word_BL.masked_fill(~piece_BL, -1), size_BW


def first_pieces(words: Words, value_BL: Tensor) -> Tensor:
    """The value at the first piece of every word: [B, W] of value_BL [B, L]; unused slots hold anything."""
    return value_BL.gather(1, first_positions(words.word_BL, words.size_BW))


@compiled_twin
def first_positions(word_BL: Tensor, size_BW: Tensor) -> Tensor:
    """Where every word begins, int64 [B, W]."""
    import torch

    begun_BL = word_BL.cummax(1).values
    slot_BW = torch.arange(size_BW.shape[1], device=begun_BL.device).expand(size_BW.shape)
    return torch.searchsorted(begun_BL, slot_BW.contiguous()).clamp(max=word_BL.shape[1] - 1)


def budget(base_B: Tensor, rate: float) -> Tensor:
    """Pieces to select [B]: round(base * rate), halves to even as Python does, at least 1 and at most 512.

    The product is that of floating-point numbers, as in the released codes (docs/methods.md §10).
    """
    from bmae_lightning.pretraining.noise import widest_float

    return (base_B.to(widest_float(base_B.device)) * rate).round_().clamp_(1, 512).long()


def check_fill(fill: str) -> str:
    choice(FILLS, fill=fill)
    return fill


def select_words(words: Words, priority_BRW: Tensor, budget_B: Tensor, fill: str = "exact") -> Tensor:
    """Whole words in falling priority up to budget_B pieces: bool [B, R, L].

    fill 'exact': a word longer than what is left is skipped and the next is tried; 'prefix': selection ends there;
    'overshoot': that word is taken whole and selection ends, so only here can more than budget_B be selected.
    """
    return take_by_priority(words.word_BL, words.size_BW, priority_BRW, budget_B, check_fill(fill))


@compiled_twin
def take_by_priority(word_BL: Tensor, size_BW: Tensor, priority_BRW: Tensor, budget_B: Tensor, fill: str) -> Tensor:
    """`select_words` for words of one size in all rows."""
    return take_sorted(word_BL, size_BW[:, None].expand(priority_BRW.shape), priority_BRW, budget_B, fill)


def take_sorted(word_BL: Tensor, size_BRW: Tensor, priority_BRW: Tensor, budget_B: Tensor, fill: str) -> Tensor:
    """Sort the words by priority, take from the sorted sizes, and look up each position's word."""
    import torch

    shape = priority_BRW.shape
    order_BRW = priority_BRW.masked_fill(size_BRW == 0, -torch.inf).argsort(dim=-1, descending=True, stable=True)
    size_BRW = size_BRW.int().gather(-1, order_BRW)
    room_BR1 = budget_B.int()[:, None, None].expand(*shape[:2], 1)
    if fill == "prefix":
        taken_BRW = (size_BRW > 0) & (size_BRW.cumsum(-1) <= room_BR1)
    elif fill == "overshoot":
        taken_BRW = (size_BRW > 0) & (size_BRW.cumsum(-1) - size_BRW < room_BR1)
    else:
        taken_BRW = _take_what_fits(size_BRW, room_BR1)
    chosen_BRW = torch.zeros_like(taken_BRW).scatter_(-1, order_BRW, taken_BRW)
    word_BRL = word_BL[:, None].expand(*shape[:2], -1)
    return chosen_BRW.gather(-1, word_BRL.clamp(min=0)) & (word_BRL >= 0)


def _take_what_fits(size_BRW: Tensor, room_BR1: Tensor) -> Tensor:
    """The skip-if-too-long rule in a few passes instead of one step per word.

    A pass takes the longest run of words that fit one by one. The word that ends the run was longer than the room then
    left, so every pass leaves less than the size of some word, and two or three passes are the rule.
    """
    import torch

    taken_BRW = torch.zeros_like(size_BRW, dtype=torch.bool)
    while True:
        fits_BRW = (size_BRW > 0) & ~taken_BRW & (size_BRW <= room_BR1)
        run_BRW = fits_BRW & ((size_BRW * fits_BRW).cumsum(-1, dtype=torch.int32) <= room_BR1)
        if not bool(run_BRW.any()):
            return taken_BRW
        taken_BRW |= run_BRW
        room_BR1 = room_BR1 - (size_BRW * run_BRW).sum(-1, keepdim=True, dtype=torch.int32)


def draw_words(
    request: MaskRequest, budget_B: Tensor, fill: str = "exact", skip_V: Tensor | None = None, unit: str = "word"
) -> Tensor:
    """Whole words in random order, all orders equally likely, up to budget_B pieces: bool [B, R, L].

    skip_V, unit: see `group_words`.  Where the request asks for `others`, row r's own piece takes no room, and is
    selected in any case.
    """
    tokens, vocabulary = request.tokens, request.vocabulary
    return take_at_random(
        tokens.ids_BL, tokens.real_BL, vocabulary.skip_V if skip_V is None else skip_V, joining(vocabulary, unit),
        request.key_B, request.rows, budget_B, check_fill(fill), request.others,
    )  # fmt: skip


def drawable(
    request: MaskRequest, budget_B: Tensor, fill: str = "exact", skip_V: Tensor | None = None, unit: str = "word"
) -> Tensor:
    """Where `draw_words` with the same arguments selects in some draw: bool [B, L]."""
    words = group_words(request.tokens, request.vocabulary, skip_V, unit)
    return fitting(words, request.length_B if fill == "overshoot" else budget_B)


@compiled_twin
def take_at_random(
    ids_BL: Tensor, real_BL: Tensor, skip_V: Tensor, joint_V: Tensor, key_B: Tensor, rows: int,
    budget_B: Tensor, fill: str, others: bool,
) -> Tensor:  # fmt: skip
    """`draw_words`: the words of the text by uniform priorities."""
    import torch

    from bmae_lightning.pretraining.noise import uniform

    word_BL, size_BW = find_words(ids_BL, real_BL, skip_V, joint_V)
    priority_BRW = uniform(key_B, rows, size_BW.shape[1])
    if not others:
        return take_by_priority(word_BL, size_BW, priority_BRW, budget_B, fill)
    own_BR1, own_RL = word_BL[:, :rows, None], torch.eye(rows, ids_BL.shape[1], dtype=torch.bool, device=ids_BL.device)
    size_BRW = size_BW[:, None].repeat(1, rows, 1).scatter_add_(-1, own_BR1.clamp(min=0), -(own_BR1 >= 0).long())
    return take_sorted(word_BL, size_BRW, priority_BRW, budget_B, fill) | own_RL


def race_words(
    request: MaskRequest, words: Words, log_weight_BW: Tensor, budget_B: Tensor, fill: str = "overshoot"
) -> Tensor:
    """Weighted sampling of words without replacement: bool [B, R, L].

    A word arrives after an exponential time with its weight as rate, and words are taken as they arrive; log_weight_BW:
    natural logarithms of the weights, float64.
    """
    return take_by_weight(
        words.word_BL, words.size_BW, log_weight_BW, request.key_B, request.rows, budget_B, check_fill(fill)
    )


@compiled_twin
def take_by_weight(
    word_BL: Tensor, size_BW: Tensor, log_weight_BW: Tensor, key_B: Tensor, rows: int, budget_B: Tensor, fill: str
) -> Tensor:
    """`race_words`: the arrival time -log(uniform) / weight, by its logarithm, is the priority."""
    from bmae_lightning.pretraining.noise import log, uniform

    log_arrival_BRW = log(-log(uniform(key_B, rows, size_BW.shape[1])))
    return take_by_priority(word_BL, size_BW, log_weight_BW[:, None] - log_arrival_BRW, budget_B, fill)
