"""Passages as sequences of units, whole words or single word pieces, each named by a 64-bit key.

Words are grouped as MASTER does: special ids are skipped, a piece that continues a word joins the one before it, and
one that opens a passage opens a word. Two different words share a key with probability 2^-64.
Shapes: R rows, T tokens and U units of these rows, V vocabulary.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.runtime.checks import choice
from bmae_lightning.runtime.splitmix64 import outputs

UNITS = ("word", "piece")
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
    unit_T: int32, the unit of each of the rows' tokens, -1 for a special one.
    """

    key_U: np.ndarray
    start_R: np.ndarray
    unit_T: np.ndarray

    def ngram_keys(self, order: int) -> tuple[np.ndarray, np.ndarray]:
        """Keys of the n-grams that lie within one row, and the unit at which each starts, in order."""
        from bmae_lightning.corpus.statistics.loops import ngram_keys

        key, begin = np.empty_like(self.key_U), np.empty(len(self.key_U), dtype=np.int64)
        number = ngram_keys(self.key_U, self.start_R, order, key, begin)
        return key[:number], begin[:number]

    def times_in_row(self) -> tuple[np.ndarray, np.ndarray]:
        """How often each unit's key occurs in its row, int64 [U], and whether it is the first of them, bool [U]."""
        from bmae_lightning.corpus.statistics.loops import times_in_row

        times_U, first_U = np.empty(len(self.key_U), dtype=np.int64), np.empty(len(self.key_U), dtype=bool)
        times_in_row(self.key_U, self.start_R, times_U, first_U)
        return times_U, first_U

    def spread(self, value_U: np.ndarray) -> np.ndarray:
        """A number per unit at every piece of the unit, 0 at special tokens: float32 [T]."""
        return np.append(value_U, 0).astype(np.float32)[self.unit_T]


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
        self.code_V = outputs(0, len(rules.special_V))
        if unit == "word":
            self.code_V = self.code_V[rules.spelling_V]

    def read(self, first: int, last: int) -> Units:
        """The units of the rows first .. last - 1."""
        from bmae_lightning.corpus.statistics.loops import read_pieces, read_words

        offset_R = self.store.offsets[first : last + 1]
        id_T = self.store.tokens[offset_R[0] : offset_R[-1]].astype(np.int32)
        offset_R = offset_R - offset_R[0]
        key_U, start_R = np.empty(len(id_T), dtype=np.uint64), np.empty(len(offset_R), dtype=np.int64)
        unit_T = np.empty(len(id_T), dtype=np.int32)
        made = key_U, start_R, unit_T
        if self.unit == "piece":
            read_pieces(id_T, offset_R, self.piece_V, self.code_V, *made)
        else:
            read_words(id_T, offset_R, self.piece_V, self.begins_V, self.closed_V, self.code_V, *made)
        return Units(key_U[: start_R[-1]], start_R, unit_T)


def row_ranges(store: TokenStore, tokens: int, first: int = 0, last: int | None = None) -> Iterator[tuple[int, int]]:
    """Consecutive ranges of the rows first .. last - 1 that hold about `tokens` tokens each, at least one row."""
    last = len(store) if last is None else last
    while first < last:
        end = int(np.searchsorted(store.offsets, store.offsets[first] + tokens, side="right")) - 1
        end = min(max(end, first + 1), last)
        yield first, end
        first = end
