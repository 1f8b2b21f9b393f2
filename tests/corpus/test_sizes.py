"""The size of a collection before it is read: as published, else as its files have it."""

import math

from bmae_lightning.corpus.beir import BeirCorpus
from bmae_lightning.corpus.builtin.collection import BuiltinCorpus
from bmae_lightning.corpus.sizes import known_sizes


def test_without_published_counts_files_are_counted(collection):
    sizes = known_sizes(BeirCorpus(str(collection)))
    assert (sizes.passages, sizes.queries) == (60, {"train": 40, "test": 20})
    assert sizes.pieces == 2 + 1.4 * 25
    assert sizes.tokens(20) == 20
    assert sizes.tokens(100) == 37
    assert sizes.judged(["train", "test"]) == 60
    assert math.isnan(sizes.judged(["dev"]))


def test_published_counts_go_before_those_of_the_files(collection):
    expected = {"passages": 1000, "splits": {"train": {"queries": 7}}}
    sizes = known_sizes(BeirCorpus(str(collection)), expected)
    assert (sizes.passages, sizes.queries) == (1000, {"train": 7, "test": 20})


def test_judgments_in_a_large_file_are_not_read(collection, monkeypatch):
    monkeypatch.setattr("bmae_lightning.corpus.sizes.LARGE", 10)
    assert math.isnan(known_sizes(BeirCorpus(str(collection))).queries["train"])


def test_the_builtin_collection_is_unknown_until_it_is_written():
    sizes = known_sizes(BuiltinCorpus())
    assert math.isnan(sizes.passages)
    assert sizes.tokens(64) == 64
    assert set(sizes.queries) == {"train", "dev", "test"}
