"""Values of tokens by blocks and groups of tables: the same for any cut, and what is finished is kept."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from bmae_lightning.corpus.statistics.ngram_counts import Counting, count_tables, occurrences
from bmae_lightning.corpus.statistics.token_values import NAMES, TokenValues, _groups
from bmae_lightning.corpus.statistics.words import UnitReader
from bmae_lightning.runtime.threads import Workers

WINDOW = 3


@pytest.fixture
def values(make_store, tmp_path):
    """Random passages of single pieces, their tables, and what computes the values from them."""
    passages = [[piece for piece in passage if not piece.startswith(("##", "["))] for passage in make_store.random(25)]
    made = make_store(passages)
    reader = UnitReader(made.store, made.special_V, made.continuation_V, "word")
    countings = {f"word-{order}": Counting(f"word-{order}", reader, order) for order in range(1, WINDOW + 1)}
    workers = Workers(1, 2**28)
    tables = count_tables(tmp_path, list(countings.values()), workers, "x")
    total_N = occurrences(reader, WINDOW, workers, "x")
    kept = (list(countings), total_N, len(made.store), "word-1", None, "inv_cf", "joint", "available")
    return passages, TokenValues(countings, *kept), tables


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
