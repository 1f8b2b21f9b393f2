"""Words and pieces of a store against Python lists, the recorded originals, and the words that mask policies find."""

import json
from collections import Counter

import numpy as np
import pytest
import torch
from support.paths import GOLDEN

from bmae_lightning.corpus.statistics.words import CLOSED, CONTINUES, UnitReader, WordRules, row_ranges
from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.mask.words import group_words

MASKING = GOLDEN / "masking"


def words_of(passage):
    """Positions of the pieces of each word."""
    words = []
    for place, piece in enumerate(passage):
        if piece in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"):
            continue
        if piece.startswith("##") and words:
            words[-1].append(place)
        else:
            words.append([place])
    return words


def found(units):
    """Positions of the pieces of each unit, over all rows read."""
    return [np.flatnonzero(units.unit_T == unit).tolist() for unit in range(len(units.key_U))]


def test_words_are_those_of_the_original(make_store):
    cases = json.loads((MASKING / "word_groups.json").read_text())
    made = make_store([case["tokens"] for case in cases])
    reader = UnitReader(made.store, made.rules, "word")
    for row, case in enumerate(cases):
        assert found(reader.read(row, row + 1)) == case["words_skip_all_special"], case["tokens"]


@pytest.mark.parametrize("unit", ["word", "piece"])
@pytest.mark.parametrize("size", [1, 20, 10_000])
def test_blocks_of_rows_against_python_lists(make_store, unit, size):
    passages = make_store.random()
    made = make_store(passages)
    reader = UnitReader(made.store, made.rules, unit)
    ranges = list(row_ranges(made.store, size))
    assert [first for first, _ in ranges] == [0, *(last for _, last in ranges[:-1])]
    assert ranges[-1][1] == len(passages)
    assert (len(ranges) == 1) == (size == 10_000)
    key_of = {}
    for first, last in ranges:
        units = reader.read(first, last)
        groups = [words_of(passage) for passage in passages[first:last]]
        if unit == "piece":
            groups = [[[place] for word in words for place in word] for words in groups]
        start = made.store.offsets[first:last] - made.store.offsets[first]
        assert found(units) == [[s + place for place in w] for s, ws in zip(start, groups, strict=True) for w in ws]
        assert units.start_R.tolist() == np.cumsum([0, *map(len, groups)]).tolist()
        names = ["".join(p[i] for i in w) for p, ws in zip(passages[first:last], groups, strict=True) for w in ws]
        for name, key in zip(names, units.key_U.tolist(), strict=True):
            assert key_of.setdefault(name, key) == key
    assert len(set(key_of.values())) == len(key_of) >= 10


@pytest.mark.parametrize("order", [1, 2, 4])
def test_ngrams_stay_within_their_passage(make_store, order):
    passages = make_store.random()
    made = make_store(passages)
    units = UnitReader(made.store, made.rules, "word").read(0, len(passages))
    key, begin = units.ngram_keys(order)
    expected, grams, start = [], [], 0
    for passage in passages:
        words = ["".join(passage[i] for i in word) for word in words_of(passage)]
        expected += range(start, start + max(len(words) - order + 1, 0))
        grams += [tuple(words[i : i + order]) for i in range(len(words) - order + 1)]
        start += len(words)
    assert begin.tolist() == expected
    assert len(set(zip(grams, key.tolist(), strict=True))) == len(set(key.tolist())) == len(set(grams)) < len(grams)


def test_times_in_row_against_a_counter(make_store):
    passages = make_store.random()
    made = make_store(passages)
    units = UnitReader(made.store, made.rules, "word").read(0, len(passages))
    times_U, first_U = units.times_in_row()
    row_U = [row for row, passage in enumerate(passages) for _ in words_of(passage)]
    pairs = list(zip(row_U, units.key_U.tolist(), strict=True))
    total = Counter(pairs)
    assert times_U.tolist() == [total[pair] for pair in pairs]
    marked = [pair for pair, first in zip(pairs, first_U, strict=True) if first]
    assert sorted(marked) == sorted(total)
    assert max(times_U) > 1


def test_words_are_those_that_a_mask_finds(make_store):
    passages = make_store.random()
    made = make_store(passages)
    vocabulary = Vocabulary.from_tokens(made.names)
    reader = UnitReader(made.store, made.rules, "word")
    for row, passage in enumerate(passages):
        units = reader.read(row, row + 1)
        ids_BL = torch.tensor([[vocabulary.cls_id, *made.store[row].tolist(), vocabulary.sep_id]])
        tokens = Tokens(ids_BL, torch.ones_like(ids_BL).bool())
        word_BL = group_words(tokens, vocabulary, vocabulary.special_V).word_BL
        assert word_BL[0, 1:-1].tolist() == units.unit_T.tolist(), passage


def test_a_number_per_unit_stands_at_all_its_pieces(make_store):
    made = make_store([["a", "##x", "[UNK]", "##y", "b"], ["[SEP]", "b"]])
    units = UnitReader(made.store, made.rules, "word").read(0, 2)
    value = units.spread(np.array([1.5, 2.5, 3.5]))
    assert value.dtype == np.float32
    assert value.tolist() == [1.5, 1.5, 0, 1.5, 2.5, 0, 3.5]


def test_impossible_arguments(make_store):
    made = make_store([["a", "b"]])
    with pytest.raises(ValueError, match="unit must be one of word, piece, got 'token'"):
        UnitReader(made.store, made.rules, "token")
    with pytest.raises(ValueError, match="describe 5 ids, the store has 7"):
        UnitReader(made.store, WordRules(*(flags_V[:5] for flags_V in vars(made.rules).values())), "word")


def test_nothing_continues_a_closed_piece_and_pieces_spelt_alike_begin_one_word(make_store):
    """`_` is the blank before a piece, without which it may continue a word; a comma ends one."""
    names = ["_a", "a", "b", ","]
    made = make_store([["_a", "b", "a", ",", "a", "b", "[SEP]", "b"], ["a", "[SEP]", "_a", "b"]], vocabulary=names)
    joint_V = np.array([*[CLOSED] * 5, 0, CONTINUES, CONTINUES, CLOSED], np.uint8)
    rules = WordRules(made.rules.special_V, joint_V, np.array([*range(5), 5, 5, 7, 8]))
    units = UnitReader(made.store, rules, "word").read(0, 2)
    assert found(units) == [[0, 1, 2], [3], [4, 5], [7], [8], [10, 11]]
    key_U = units.key_U.tolist()
    assert key_U[2] == key_U[5]
    assert len(set(key_U)) == 5
    assert len(set(UnitReader(made.store, rules, "piece").read(0, 2).key_U.tolist())) == len(names)
