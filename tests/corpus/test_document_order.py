"""DocumentOrder against a slow reference, its files, what is refused; MappedArray travels by path."""

import gzip
import pickle
import random

import numpy as np
import pytest

from bmae_lightning.corpus.document_order import HEAD, DocumentOrder, check_order
from bmae_lightning.corpus.records import Passage, Query
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import MappedArray, write_array


def ordered(places, *options):
    order = DocumentOrder(*options)
    for row, (doc_id, position) in enumerate(places):
        order.note(Passage(f"p{row}", "", "text", doc_id, position))
        order.note(Query(f"q{row}", "what?"))
    return order.order()


def neighbours(places):
    return ordered(places).neighbour.tolist()


def reference(places, last=True):
    """last: it has the one before it."""
    found = []
    for row, (doc_id, _) in enumerate(places):
        same = [other for other, place in enumerate(places) if place[0] == doc_id]
        same.sort(key=lambda other: (places[other][1] is None, places[other][1] or 0, other))
        at = same.index(row)
        alone = doc_id is None or len(same) == 1
        found.append(-1 if alone else same[at + 1] if at + 1 < len(same) else same[at - 1] if last else -1)
    return found


def test_next_of_the_document_and_for_the_last_the_one_before():
    assert neighbours([("a", 0), ("b", 5), ("a", 2), ("a", 1), ("b", -3), ("c", 0)]) == [3, 4, 3, 2, 1, -1]
    assert neighbours([("a", None), ("a", None), ("a", 7)]) == [1, 0, 0]
    assert neighbours([(None, 0), (None, 1), ("", 0), ("", 1)]) == [-1, -1, 3, 2]


def test_the_last_of_a_document_has_no_next_one():
    order = ordered([("a", 0), ("b", 5), ("a", 2), ("a", 1), ("b", -3), ("c", 0)])
    assert order.next.tolist() == [3, -1, -1, 2, 1, -1]
    assert order.told == "6 of 6 passages are of 3 documents, 3 have a next one there"
    assert ordered([(None, 0), (None, 1)]).told == ""


def test_the_order_of_the_collection_is_told_as_such():
    order = ordered([("a", 1), ("b", 0), (None, None)], None, "collection_order")
    assert order.next.tolist() == [1, 2, -1]
    assert order.neighbour.tolist() == [1, 2, 1]
    assert order.told.startswith("corpus.neighbours=collection_order: the passage that stands next in the collection")


def written(tmp_path, *lines, name="documents.tsv"):
    path = tmp_path / name
    content = "".join(f"{line}\n" for line in lines).encode()
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    return str(path)


def test_documents_from_a_file_and_what_is_odd_about_it(tmp_path):
    """Any order of lines, a position or none, urls as documents; what the passages say themselves is not used."""
    lines = ["p4\thttp://x.org/a?b=1", "p0\tD7\t2", "p2\tD7\t1", "p9\tD7\t0", "p1\thttp://x.org/a?b=1", "p0\tD8"]
    order = ordered([("own", row) for row in range(5)], written(tmp_path, *lines))
    assert order.next.tolist() == [-1, 4, 0, -1, -1]
    assert order.neighbour.tolist() == [2, 4, 0, -1, 1]
    assert order.told == (
        "4 of 5 passages are of 2 documents, 2 have a next one there (documents.tsv; 1 passages are not listed there; "
        "1 of those listed are not in the collection; 1 lines name another document of a passage than its first line "
        "and are not used)"
    )
    zipped = written(tmp_path, *lines, name="more.tsv.gz")
    assert ordered([("own", 0)] * 5, zipped.removesuffix(".gz")).next.tolist() == order.next.tolist()


@pytest.mark.parametrize("seed", range(3))
def test_a_file_says_the_same_as_the_passages(tmp_path, seed):
    draw = random.Random(seed)
    places = [(draw.choice("abc"), draw.choice([None, *range(5)])) for _ in range(40)]
    lines = [f"p{row}\t{name}" + ("" if at is None else f"\t{at}") for row, (name, at) in enumerate(places)]
    draw.shuffle(lines)
    assert ordered([(None, None)] * 40, written(tmp_path, *lines)).next.tolist() == ordered(places).next.tolist()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["p0\ta", "p1"], r"documents.tsv:2: has 1 columns, or an empty one; write passage<tab>document"),
        (["p0\ta", "p1\t \t3"], r"documents.tsv:2: has 3 columns, or an empty one"),
        (["p0\ta\t1", "p1\ta\tx", "p2\ta\ty"], r"documents.tsv:2: the position 'x' is no whole .*\(1 more such line"),
        ([], "documents.tsv is empty; it needs lines of passage"),
        (["P0\ta", "P1\tb"], "documents.tsv: none of the 2 passages it lists is in the collection"),
    ],
)
def test_broken_files_are_refused_by_line(tmp_path, lines, message):
    with pytest.raises(BadInput, match=message):
        ordered([("a", 0), ("a", 1)], written(tmp_path, *lines))


class Heads:
    def __init__(self, known):
        self.known = known

    def has_documents(self):
        return self.known


def test_what_cannot_be_known_is_refused_with_its_remedies(tmp_path):
    asked = "documents", "decoders.next", "next"
    with pytest.raises(BadInput) as refusal:
        check_order(Heads(False), None, *asked)
    assert all(word in str(refusal.value) for word in ("decoders.next", "'next'", "corpus.documents=FILE",
               "corpus.neighbours=collection_order", "reading=code"))  # fmt: skip
    check_order(Heads(True), None, *asked)
    check_order(Heads(False), None, "collection_order", *asked[1:])
    check_order(Heads(False), written(tmp_path, *["p0\ta"] * HEAD, "p1"), *asked)
    with pytest.raises(BadInput, match="documents.tsv:1: has 1 columns"):
        check_order(Heads(True), written(tmp_path, "p1"), *asked)
    with pytest.raises(BadInput, match=r"corpus.documents=.*none.tsv: there is no such file \(nor none.tsv.gz\)"):
        check_order(Heads(True), str(tmp_path / "none.tsv"), *asked)
    with pytest.raises(BadInput, match="documents.zip is an archive: unpack it"):
        check_order(Heads(True), written(tmp_path, name="documents.zip"), *asked)


@pytest.mark.parametrize("seed", range(5))
def test_equals_the_reference(seed):
    draw = random.Random(seed)
    names = [None, "x", "y", "ü", "", "z"]
    places = [(draw.choice(names), draw.choice([None, *range(-3, 9)])) for _ in range(60)]
    assert neighbours(places) == reference(places)
    assert ordered(places).next.tolist() == reference(places, last=False)


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
