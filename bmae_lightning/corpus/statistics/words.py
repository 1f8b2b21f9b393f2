"""Passages as sequences of units, whole words or single word pieces, each named by a 64-bit key.

Words are grouped as MASTER does: special ids are skipped, a piece that continues a word joins the one before it, and
one that opens a passage opens a word. Two different words share a key with probability 2^-64.
Shapes: R rows, K pieces (tokens that are not special) and U units of these rows, V vocabulary.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.runtime.checks import choice
from bmae_lightning.runtime.splitmix64 import STRIDE, mix, outputs

UNITS = ("word", "piece")
FACTOR = np.uint64(0xD6E8FEB86659FD93)
CONTINUES, CLOSED = 1, 2


@dataclass(frozen=True)
class WordRules:
    """How the ids of a tokenizer make words.

    special_V: bool, ids that belong to no word.  joint_V: uint8, the sum of CONTINUES for a piece that continues the
    word before it, and CLOSED for an id that no piece behind it continues.  spelling_V: int64, one id for all pieces
    that are spelt alike at the beginning of a word.
    """

    special_V: np.ndarray
    joint_V: np.ndarray
    spelling_V: np.ndarray


@dataclass(frozen=True)
class Units:
    """The units of some consecutive rows.

    key_U: uint64, the same for the same word (or piece).  start_R: first unit of each row, and their number at the end.
    piece_K: which of the rows' tokens are pieces.  unit_K: the unit of each piece.  tokens: of the rows, special ones
    included.
    """

    key_U: np.ndarray
    start_R: np.ndarray
    piece_K: np.ndarray
    unit_K: np.ndarray
    tokens: int

    @property
    def row_U(self) -> np.ndarray:
        """Row of each unit, from 0."""
        return np.repeat(np.arange(len(self.start_R) - 1), np.diff(self.start_R))

    def ngram_keys(self, order: int) -> tuple[np.ndarray, np.ndarray]:
        """Keys of the n-grams that lie within one row, and the unit at which each starts, in order."""
        length_R = np.diff(self.start_R)
        end_U = np.repeat(self.start_R[1:], length_R)
        begin = np.flatnonzero(np.arange(order, len(end_U) + order) <= end_U)
        if order == 1:
            return self.key_U, begin
        size = len(self.key_U) - order + 1
        if size <= 0:
            return self.key_U[:0], begin
        key = self.key_U[:size]
        for place in range(1, order):
            key = key * FACTOR + self.key_U[place : place + size]
        return key[begin], begin

    def times_in_row(self) -> tuple[np.ndarray, np.ndarray]:
        """How often each unit's key occurs in its row, int64 [U], and whether it is the first of them, bool [U]."""
        pair_U = mix(self.key_U + self.row_U.astype(np.uint64) * STRIDE)
        order_U = np.argsort(pair_U)
        sorted_U = pair_U[order_U]
        opens_U = np.ones(len(sorted_U), dtype=bool)
        opens_U[1:] = sorted_U[1:] != sorted_U[:-1]
        run = np.flatnonzero(opens_U)
        length = np.diff(np.append(run, len(sorted_U)))
        times_U, first_U = np.empty(len(order_U), dtype=np.int64), np.zeros(len(order_U), dtype=bool)
        times_U[order_U] = np.repeat(length, length)
        first_U[order_U[run]] = True
        return times_U, first_U

    def spread(self, value_U: np.ndarray) -> np.ndarray:
        """A number per unit at every piece of the unit, 0 at special tokens: float32 [tokens]."""
        value = np.zeros(self.tokens, dtype=np.float32)
        value[self.piece_K] = value_U[self.unit_K]
        return value


class UnitReader:
    """Reads rows of a store as units.

    rules: of the tokenizer; the store's ids lie within.  unit: 'word', or 'piece' for one unit a piece.
    """

    def __init__(self, store: TokenStore, rules: WordRules, unit: str):
        choice(UNITS, unit=unit)
        if store.vocabulary_size > len(rules.special_V):
            raise ValueError(
                f"the rules describe {len(rules.special_V)} ids, the store has {store.vocabulary_size}; give those of "
                "its own tokenizer"
            )
        self.store, self.unit = store, unit
        self.piece_V, self.begins_V = ~rules.special_V, (rules.joint_V & CONTINUES) == 0
        self.closed_V = (rules.joint_V & CLOSED) > 0
        self.closes = bool(self.closed_V.any())
        self.code_V = outputs(0, len(rules.special_V))
        if unit == "word":
            self.code_V = self.code_V[rules.spelling_V]

    def read(self, first: int, last: int) -> Units:
        """The units of the rows first .. last - 1."""
        offset_R = self.store.offsets[first : last + 1]
        token = self.store.tokens[offset_R[0] : offset_R[-1]]
        piece_K = np.flatnonzero(self.piece_V[token])
        id_K = token[piece_K]
        start_R = np.searchsorted(piece_K, offset_R - offset_R[0])
        if self.unit == "piece":
            return Units(self.code_V[id_K], start_R, piece_K, np.arange(len(piece_K)), len(token))
        begins_K = self.begins_V[id_K]
        if self.closes:
            begins_K |= self.closed_V[token[piece_K - 1]]
        begins_K[start_R[start_R < len(begins_K)]] = True
        begin_U = np.flatnonzero(begins_K)
        unit_K = np.cumsum(begins_K) - 1
        key_U = self._word_keys(id_K, begin_U, unit_K)
        return Units(key_U, np.searchsorted(begin_U, start_R), piece_K, unit_K, len(token))

    def _word_keys(self, id_K: np.ndarray, begin_U: np.ndarray, unit_K: np.ndarray) -> np.ndarray:
        """A polynomial in the codes of a word's pieces, mixed: [U]."""
        code_K = self.code_V[id_K]
        if not len(begin_U):
            return code_K
        place_K = np.arange(len(id_K)) - begin_U[unit_K]
        inner = np.flatnonzero(place_K)  # most words have one piece
        power = np.cumprod(np.full(place_K.max() + 1, FACTOR))
        code_K[inner] *= power[place_K[inner]]
        return mix(np.add.reduceat(code_K, begin_U))


def row_ranges(store: TokenStore, tokens: int, first: int = 0, last: int | None = None) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of the rows first .. last - 1 that hold about `tokens` tokens each, at least one row."""
    last = len(store) if last is None else last
    while first < last:
        end = int(np.searchsorted(store.offsets, store.offsets[first] + tokens, side="right")) - 1
        end = min(max(end, first + 1), last)
        yield first, end
        first = end
