"""A user's own texts: the order of the corpus, what may be left out, and one line for everything that is wrong."""

import gzip
import json
import re

import pytest
from support.stores import write_store

from bmae_lightning.pretraining.generate.file import TextFile
from bmae_lightning.pretraining.generate.record import Generated
from bmae_lightning.runtime.errors import BadInput


@pytest.fixture
def passages(tmp_path):
    return write_store(tmp_path / "store", [[i] for i in range(4)], "p")


def write(tmp_path, *lines):
    path = tmp_path / "texts.jsonl"
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
    return path


def test_any_order_and_what_is_left_out_is_absent(tmp_path, passages):
    path = write(
        tmp_path,
        b'\xef\xbb\xbf{"_id": "p2", "queries": ["one", "zwei \xc3\xa4"], "continuation": "goes on"}\r',
        b"",
        {"_id": "p0", "queries": None, "continuation": ""},
        {"_id": "p3", "queries": ["only"]},
    )
    assert list(TextFile(str(path)).read(passages)) == [
        Generated("p0", [], ""),
        Generated("p1", [], None),
        Generated("p2", ["one", "zwei ä"], "goes on"),
        Generated("p3", ["only"], None),
    ]


GOOD = {"_id": "p0", "queries": ["a"], "continuation": None}


@pytest.mark.parametrize(
    ("line", "words"),
    [
        (b"{", "texts.jsonl:2: not JSON"),
        (b"[1]", "texts.jsonl:2: holds a JSON list"),
        (b'{"_id": "p1", "queries": ["\xff"]}', "texts.jsonl:2: byte 28 of the line"),
        ({"_id": "p9"}, "texts.jsonl:2: id 'p9' is no passage of the corpus"),
        ({"_id": "p0", "queries": []}, "texts.jsonl:2: id 'p0' was used before"),
        ({"queries": []}, 'texts.jsonl:2: has no "_id"'),
        ({"_id": ["p1"]}, "texts.jsonl:2: has the list ['p1'] as \"_id\""),
        ({"_id": "p1", "queries": "what"}, "texts.jsonl:2: \"queries\" of 'p1' must be a list of strings"),
        ({"_id": "p1", "queries": ["a", 3]}, 'must be a list of strings, such as ["what is it"], not ["a", 3]'),
        ({"_id": "p1", "continuation": ["a"]}, "texts.jsonl:2: \"continuation\" of 'p1' must be a string or null"),
        ({"_id": "p1", "query": ["a"]}, "texts.jsonl:2: unknown key 'query'; did you mean 'queries'"),
        ({"_id": "p1", "score": 1}, "unknown key 'score'; a line has _id, queries, continuation"),
    ],
)
def test_broken_lines_name_file_and_line(tmp_path, passages, line, words):
    path = write(tmp_path, GOOD, line)
    with pytest.raises(BadInput, match=re.escape(words)):
        next(TextFile(str(path)).read(passages))


def test_more_of_a_kind_are_counted(tmp_path, passages):
    path = write(tmp_path, GOOD, {"_id": "x"}, {"_id": "y"}, {"_id": "z"})
    with pytest.raises(BadInput, match=r":2: id 'x' .*\(2 more such lines in this file"):
        next(TextFile(str(path)).read(passages))


def test_the_file_itself(tmp_path, passages):
    with pytest.raises(BadInput, match="generate.texts.path=.*none.jsonl: there is no such file"):
        TextFile(str(tmp_path / "none.jsonl")).check()
    with pytest.raises(BadInput, match="is empty"):
        next(TextFile(str(write(tmp_path, b""))).read(passages))
    with pytest.raises(ValueError, match="path=.*unpack"):
        TextFile(str(tmp_path / "texts.jsonl.gz"))
    packed = tmp_path / "packed.jsonl"
    packed.write_bytes(gzip.compress(json.dumps(GOOD).encode()))
    with pytest.raises(BadInput, match=r"packed.jsonl:1: byte 2 of the line"):
        next(TextFile(str(packed)).read(passages))


def test_its_content_is_its_identity(tmp_path):
    first = TextFile(str(write(tmp_path, GOOD))).identity()
    assert TextFile(str(write(tmp_path, GOOD))).identity() == first
    assert TextFile(str(write(tmp_path, GOOD | {"queries": ["b"]}))).identity() != first
