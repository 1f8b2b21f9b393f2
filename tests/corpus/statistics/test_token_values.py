"""Values of tokens by blocks and groups of tables: the same for any cut, and what is finished is kept.

Weights of words against their definitions; all are above 0.
"""

import math
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bmae_lightning.corpus.statistics.ngram_counts import Counting, count_tables, occurrences
from bmae_lightning.corpus.statistics.token_values import (
    NAMES,
    StatisticsOptions,
    TokenValues,
    _groups,
    log_keyword_weight,
)
from bmae_lightning.corpus.statistics.words import UnitReader
from bmae_lightning.runtime.threads import Workers

WINDOW = 3


@pytest.fixture
def values(make_store, tmp_path):
    """Random passages of single pieces, their tables, and what computes the values from them."""
    passages = [[piece for piece in passage if not piece.startswith(("##", "["))] for passage in make_store.random(25)]
    made = make_store(passages)
    reader = UnitReader(made.store, made.rules, "word")
    countings = {f"word-{order}": Counting(f"word-{order}", reader, order) for order in range(1, WINDOW + 1)}
    workers = Workers(1, 2**28)
    tables = count_tables(tmp_path, list(countings.values()), workers, "x")
    total_N = occurrences(reader, WINDOW, workers, "x")
    return passages, TokenValues(StatisticsOptions(window=WINDOW), countings, total_N, len(made.store)), tables


def computed(values, directory, memory=2**28):
    directory.mkdir(exist_ok=True)
    paths = values[1].write(directory, values[2], Workers(1, memory), "x")
    return np.concatenate([np.load(path) for path in paths], axis=1), paths


def test_the_keyword_weight_is_minus_the_log_of_the_frequency(values, tmp_path):
    pieces = [piece for passage in values[0] for piece in passage]
    frequency = Counter(pieces)
    found, paths = computed(values, tmp_path / "a")
    assert len(paths) == 1
    assert found.shape == (len(NAMES), len(pieces))
    expected = [-np.log(frequency[piece]) for piece in pieces]
    np.testing.assert_allclose(found[NAMES.index("keyword_weight")], expected, rtol=1e-6)


def test_the_importance_is_the_same_for_the_same_surroundings(values, tmp_path):
    """A passage alone has n-grams of its own only, so that equal passages have equal importance."""
    importance = computed(values, tmp_path / "a")[0][NAMES.index("importance")]
    ends = np.cumsum([len(passage) for passage in values[0]])
    by_text = {}
    for passage, part in zip(values[0], np.split(importance, ends[:-1]), strict=True):
        assert np.array_equal(by_text.setdefault(tuple(passage), part), part)


def test_blocks_and_groups_change_nothing(values, tmp_path):
    whole, _ = computed(values, tmp_path / "a")
    cut, paths = computed(values, tmp_path / "b", memory=2500)
    assert len(paths) > 2
    assert np.array_equal(whole, cut)


def test_a_finished_block_is_not_made_again(values, tmp_path):
    _, paths = computed(values, tmp_path / "a", memory=2500)
    np.save(paths[0], np.zeros_like(np.load(paths[0])))
    paths[1].unlink()
    found, again = computed(values, tmp_path / "a", memory=2500)
    assert again == paths
    assert not found[:, : np.load(paths[0]).shape[1]].any()
    assert np.array_equal(np.load(paths[1]), computed(values, tmp_path / "b", memory=2500)[0][:, slice(*_span(paths))])


def _span(paths):
    first = np.load(paths[0]).shape[1]
    return first, first + np.load(paths[1]).shape[1]


class Spans:
    def __init__(self, name, sizes):
        self.name, self.sizes = name, sizes

    def spans(self, entries):
        return [(Path(self.name), 0, size) for size in self.sizes]


def test_groups_keep_the_order_and_their_room():
    tables = {"a": Spans("a", [4, 4]), "b": Spans("b", [3]), "c": Spans("c", [8, 1])}
    groups = _groups(tables, 8)
    assert [[(name, span[2]) for name, span in group] for group in groups] == [
        [("a", 4), ("a", 4)], [("b", 3)], [("c", 8)], [("c", 1)],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "tables"),
    [
        ({}, {"word-1": (1, 1, False), "word-2": (2, 1, False), "word-3": (3, 1, False), "word-4": (4, 1, False)}),
        (
            {"keyword": "idf", "window": 2, "min_count": 5},
            {"word-1": (1, 1, False), "word-2": (2, 5, False), "word-passages": (1, 1, True)},
        ),
        (
            {"unit": "piece", "window": 2, "min_count": 3},
            {"piece-1": (1, 1, False), "piece-2": (2, 3, False), "word-1": (1, 1, False)},
        ),
    ],
)
def test_the_tables_that_options_need(make_store, options, tables):
    made, options = make_store([["a"]]), StatisticsOptions(**options)
    countings = options.countings(made.store, made.rules)
    assert {name: (each.order, each.min_count, each.once) for name, each in countings.items()} == tables
    assert all(each.reader.unit == name.split("-")[0] for name, each in countings.items())
    assert {*options.ngrams, *filter(None, [options.words, options.passages])} == set(tables)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"keyword": "tf"}, "keyword must be one of inv_cf, idf, tfidf, got 'tf'"),
        ({"unit": "char"}, "unit must be one of word, piece, got 'char'"),
        ({"pmi_mode": "x"}, "pmi_mode must be one of joint, split, minseg"),
        ({"boundary": "x"}, "boundary must be one of available, zero_fill"),
        ({"window": 1}, "window must be at least 2, a word and its neighbour, got 1"),
        ({"min_count": 0}, "min_count must be at least 1, got 0"),
    ],
)
def test_impossible_options(options, message):
    with pytest.raises(ValueError, match=message):
        StatisticsOptions(**options)


def test_inverse_frequency_and_a_word_never_counted():
    weight_U = log_keyword_weight("inv_cf", np.array([1, 4, 0]), None, None, 9)
    assert weight_U.tolist() == pytest.approx([0, -math.log(4), 0])


def test_idf_is_that_of_bm25_and_above_zero_even_for_a_word_of_every_passage():
    weight_U = np.exp(log_keyword_weight("idf", None, np.array([1, 5, 10, 0]), None, 10))
    assert weight_U.tolist() == pytest.approx(
        [math.log(1 + 9.5 / 1.5), math.log(2), math.log(1 + 0.5 / 10.5), math.log(1 + 9.5 / 1.5)]
    )
    assert (weight_U > 0).all()


def test_tfidf_counts_the_word_in_its_passage():
    idf_U = log_keyword_weight("idf", None, np.array([3, 3]), None, 10)
    weight_U = log_keyword_weight("tfidf", None, np.array([3, 3]), np.array([1, 4]), 10)
    assert (weight_U - idf_U).tolist() == pytest.approx([0, math.log(4)])


def test_one_passage():
    assert np.isfinite(log_keyword_weight("idf", None, np.array([1]), None, 1)).all()
