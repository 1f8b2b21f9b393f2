"""DocumentOrder against a slow reference; MappedArray travels by path and refuses what is broken."""

import pickle
import random

import numpy as np
import pytest

from bmae_lightning.corpus.document_order import DocumentOrder
from bmae_lightning.corpus.records import Passage
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import MappedArray, write_array


def neighbours(places):
    order = DocumentOrder()
    passages = [Passage(f"p{row}", "", "text", doc_id, position) for row, (doc_id, position) in enumerate(places)]
    assert list(order.watch(iter(passages))) == passages
    return order.neighbours().tolist()


def reference(places):
    found = []
    for row, (doc_id, _) in enumerate(places):
        same = [other for other, place in enumerate(places) if place[0] == doc_id]
        same.sort(key=lambda other: (places[other][1] is None, places[other][1] or 0, other))
        at = same.index(row)
        alone = doc_id is None or len(same) == 1
        found.append(-1 if alone else same[at + 1] if at + 1 < len(same) else same[at - 1])
    return found


def test_next_of_the_document_and_for_the_last_the_one_before():
    assert neighbours([("a", 0), ("b", 5), ("a", 2), ("a", 1), ("b", -3), ("c", 0)]) == [3, 4, 3, 2, 1, -1]
    assert neighbours([("a", None), ("a", None), ("a", 7)]) == [1, 0, 0]
    assert neighbours([(None, 0), (None, 1), ("", 0), ("", 1)]) == [-1, -1, 3, 2]


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_reference(seed):
    draw = random.Random(seed)
    names = [None, "x", "y", "ü", "", "z"]
    places = [(draw.choice(names), draw.choice([None, *range(-3, 9)])) for _ in range(60)]
    assert neighbours(places) == reference(places)


def test_an_array_travels_by_its_path(tmp_path):
    write_array(tmp_path / "a.npy", np.arange(10_000))
    array = MappedArray(tmp_path / "a.npy", 10_000, "write it again")
    travelled = pickle.dumps(array)
    assert len(travelled) < 1000
    assert pickle.loads(travelled)[np.array([3, 9_999])].tolist() == [3, 9_999]
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_an_array_that_is_missing_damaged_or_of_another_size(tmp_path):
    with pytest.raises(BadInput, match=r"a.npy cannot be read \(.*\); write it again"):
        MappedArray(tmp_path / "a.npy", 3, "write it again")
    (tmp_path / "a.npy").write_bytes(b"no array")
    with pytest.raises(BadInput, match="a.npy cannot be read"):
        MappedArray(tmp_path / "a.npy", 3, "write it again")
    write_array(tmp_path / "a.npy", np.arange(4))
    with pytest.raises(BadInput, match=r"shape \(4,\) instead of \(3,\); write it again"):
        MappedArray(tmp_path / "a.npy", 3, "write it again")
