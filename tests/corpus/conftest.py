"""Passages given as word pieces, as a token store with the flags of its vocabulary, and random ones."""

import random
from types import SimpleNamespace

import numpy as np
import pytest

from bmae_lightning.corpus.statistics.words import WordRules
from bmae_lightning.corpus.tokens.store import TokenStoreWriter

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def random_passages(count=40, seed=0, longest=30):
    """Few, unevenly frequent pieces, so that n-grams repeat; some passages are empty, short or open with `##`."""
    draw = random.Random(seed)
    pieces = [*"abcdefgh", "##x", "##y", "[UNK]", "[SEP]"]
    weights = [20, 12, 8, 6, 4, 3, 2, 1, 8, 4, 2, 1]
    passages = [draw.choices(pieces, weights, k=draw.randint(0, longest)) for _ in range(count)]
    return [*passages, [], ["a"], ["##x"], ["##y", "##x", "a"], ["a", "##x"], ["[UNK]"], ["[UNK]", "##x", "b"], []]


@pytest.fixture
def make_store(tmp_path):
    """make(passages, name) writes passages of piece strings; the result has store, names and the rules of words."""

    def make(passages, name="store", vocabulary=None, digest="d" * 64):
        used = {piece for passage in passages for piece in passage}
        names = SPECIAL + (vocabulary or sorted(used - set(SPECIAL)))
        number = {piece: index for index, piece in enumerate(names)}
        with TokenStoreWriter(tmp_path / name, len(names), digest) as writer:
            for row, passage in enumerate(passages):
                writer.append([number[piece] for piece in passage], str(row))
            store = writer.commit()
        continues_V = np.array([piece.startswith("##") for piece in names], np.uint8)
        number_V = np.arange(len(names))
        return SimpleNamespace(
            store=store, rules=WordRules(number_V < len(SPECIAL), continues_V, number_V), names=names
        )

    make.random = random_passages
    return make
