"""A large JSON array read piece by piece, and every way in which its file can be broken."""

import gzip
import json
import random

import pytest

from bmae_lightning.corpus.json_array import objects
from bmae_lightning.runtime.errors import BadInput


def records(count=40):
    draw = random.Random(1)
    text = 'aé"\\{}[],: \n☃\U0001f600'
    return [
        {
            "n": i,
            "t": "".join(draw.choice(text) for _ in range(draw.randint(0, 60))),
            "deep": [{"x": [1.5, None, True]}],
        }
        for i in range(count)
    ]


@pytest.mark.parametrize("chunk", [1, 7, 100, 10**6])
@pytest.mark.parametrize("indent", [None, 4])
@pytest.mark.parametrize("suffix", [".json", ".json.gz"])
def test_any_piece_size_gives_the_same_objects(tmp_path, chunk, indent, suffix):
    written = records()
    content = json.dumps(written, indent=indent, ensure_ascii=chunk == 7).encode()
    path = tmp_path / f"a{suffix}"
    path.write_bytes(gzip.compress(content) if suffix.endswith("gz") else content)
    found = list(objects(path, chunk))
    assert [record for _, record in found] == written
    lines = content.decode().splitlines()
    if indent:
        assert [lines[line - 1].strip() for line, _ in found] == ["{"] * len(written)


def test_an_empty_array_and_a_byte_order_mark(tmp_path):
    (tmp_path / "a").write_bytes(b"\xef\xbb\xbf [ \n ] ")
    assert list(objects(tmp_path / "a")) == []


@pytest.mark.parametrize("chunk", [3, 10**6])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", r"a:1: the file ends inside the array"),
        (b'{"a": 1}', r"a:1: is not a JSON array"),
        (b'[\n{"a": 1}\n', r"a:3: the file ends inside the array"),
        (b'[\n{"a": 1},\n{"b": "x', r"a:3: the file ends inside an object"),
        (b'[\n{"a": 1},\n{"b": tru', r"a:3: the file ends inside an object"),
        (b'[{"a": 1}\n{"b": 1}]', r"a:2: a comma or the closing bracket"),
        (b'[{"a": 1},\n{"b" 1, "c": "a long text that goes on"}]', r"a:2: not JSON \(Expecting ':' delimiter\)"),
        (b'[{"a": 1},\n 3]', r"a:2: holds a JSON int"),
        (b'[{"a": "caf\xe9 and much more text"}]', r"a:1: not UTF-8 from here on"),
        (b'[{"a": ' + b"[" * 100_000, r"a:1: JSON nested too deeply"),
    ],
)
def test_broken_files(tmp_path, content, message, chunk):
    (tmp_path / "a").write_bytes(content)
    if content.endswith(b"[[") and chunk == 3:
        chunk = 1000
    with pytest.raises(BadInput, match=message):
        list(objects(tmp_path / "a", chunk))


def test_unreadable_and_damaged(tmp_path):
    with pytest.raises(BadInput, match=r"no\.json cannot be read: No such file"):
        list(objects(tmp_path / "no.json"))
    whole = gzip.compress(json.dumps(records(500)).encode())
    (tmp_path / "a.gz").write_bytes(whole[:-300])
    with pytest.raises(BadInput, match=r"a\.gz:1: the gzip file is cut short"):
        list(objects(tmp_path / "a.gz", 1000))
    (tmp_path / "a.gz").write_bytes(b"plain")
    with pytest.raises(BadInput, match=r"a\.gz:1: not a sound gzip file"):
        list(objects(tmp_path / "a.gz"))
