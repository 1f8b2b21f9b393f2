"""What every collection has without writing it: a digest of its files, the configuration that makes it again."""

import pytest

from bmae_lightning.corpus.beir import BeirCorpus
from bmae_lightning.corpus.collection import Collection, split_order
from bmae_lightning.corpus.records import Counts, Passage, Query, Rules
from bmae_lightning.corpus.stream import Stream
from bmae_lightning.runtime.configuration import build


def stream(*records):
    return Stream("s", lambda: enumerate(records, 1), lambda source, number, record: record)


class Two(Collection):
    """Two passages, one query, answers alone."""

    rules = Rules()

    def __init__(self, paths):
        self.paths = paths

    @property
    def name(self):
        return "two"

    def passages(self):
        return stream(Passage("a", "", "one", None, None), Passage("b", "", "two words", None, None))

    def queries_of(self, split):
        return stream(Query("q", "one"))

    def queries(self):
        return self.queries_of("test")

    def judgments(self, split):
        return stream()

    def splits(self):
        return ["test"]

    def inspect(self, check):
        check.passages(self.passages())
        check.answered("test", check.queries(self.queries()))

    def files(self):
        return self.paths

    def options(self):
        return {"paths": self.paths}


def test_a_format_that_says_what_it_has_is_checked():
    assert Two([]).check() == Counts(2, 1, {"test": 0}, 3)
    assert Two([]).title == "prepend"


def test_what_a_format_does_not_have_is_empty():
    collection = Two([])
    assert [*collection.answers("test"), *collection.negatives("test"), *collection.published()] == []
    with pytest.raises(TypeError, match="abstract"):
        Collection()


def test_the_identity_changes_with_the_bytes_and_names_of_the_files(tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_text("x")
    two.write_text("y")
    first = Two([one, two]).identity()
    assert first == Two([one, two, one]).identity()
    assert first != Two([two, one]).identity()
    two.write_text("z")
    assert first != Two([one, two]).identity()


def test_the_node_makes_the_collection_again(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    made = BeirCorpus("somewhere", splits=["test"], title="drop", tolerate=["unknown"])
    again = build(made.node(), "corpus")
    assert again.node() == made.node()
    assert again.path == tmp_path / "somewhere"
    assert (again.rules, again.title) == (Rules("drop", ("unknown",)), "drop")


def test_usual_splits_come_first():
    names = ["zero", "test", "dev", "a", "train", "validation"]
    assert sorted(names, key=split_order) == ["train", "dev", "validation", "test", "a", "zero"]
