"""The official triples against a slow reference, in blocks so small that every seam is crossed."""

import gzip
import random

import pytest

from bmae_lightning.retrieval.negatives import triples
from bmae_lightning.retrieval.negatives.triples import TripleNegatives
from bmae_lightning.runtime.errors import BadInput

POSITIVES = {f"q{i}": [f"p{i}", f"p{i + 1}"] for i in range(20)}


def slow(lines, depth):
    """The first `depth` different negatives of every query, its positives taken out."""
    found = {query: {} for query in POSITIVES}
    for query, _, negative in lines:
        if query in found and (negative in found[query] or len(found[query]) < depth):
            found[query][negative] = None
    return {query: [id for id in listed if id not in POSITIVES[query]] for query, listed in found.items()}


@pytest.mark.parametrize("depth", [1, 7, 1000])
@pytest.mark.parametrize("name", ["t.tsv", "t.tsv.gz"])
def test_equals_the_slow_reference(tmp_path, monkeypatch, name, depth):
    monkeypatch.setattr(triples, "BLOCK", 300)
    draw = random.Random(depth)
    lines = [(f"q{draw.randrange(25)}", "p1", f"p{draw.randrange(60)}") for _ in range(3000)]
    content = "".join("\t".join(line) + "\n" for line in lines).encode()
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith("gz") else content)
    found = TripleNegatives(str(tmp_path / name), depth=depth).of(None, POSITIVES)
    assert found == slow(lines, depth)
    assert list(found) == list(POSITIVES)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            b"q1\tp1\tp9\nq1\tp1\n",
            r"t\.tsv: line 2: expected 3 columns, got 2; a line is query<tab>positive<tab>negative",
        ),
        (b"q1\tp1\tp9\tp8\n", r"t\.tsv: line 1: expected 3 columns, got 4"),
        (b"other\tp1\tp9\n", r"none of the 20 training queries is in it"),
        (b"", r"t\.tsv: .*mpty"),
        (b"q1\tp1\tcaf\xe9\n", r"t\.tsv: .*UTF"),
    ],
)
def test_broken_files(tmp_path, content, message):
    (tmp_path / "t.tsv").write_bytes(content)
    with pytest.raises(BadInput, match=message):
        TripleNegatives(str(tmp_path / "t.tsv")).of(None, POSITIVES)


def test_a_gzip_cut_short_and_no_file(tmp_path):
    content = gzip.compress("".join(f"q{i * i % 20}\tp{i}\tp{i * i}\n" for i in range(9999)).encode())
    (tmp_path / "t.tsv.gz").write_bytes(content[:-400])
    with pytest.raises(BadInput, match=r"t\.tsv\.gz cannot be read: .*runcated"):
        TripleNegatives(str(tmp_path / "t.tsv.gz")).of(None, POSITIVES)
    with pytest.raises(BadInput, match=r"nothing\.tsv.* cannot be read"):
        TripleNegatives(str(tmp_path / "nothing.tsv")).of(None, POSITIVES)
