"""Vectors on disk: whole shards stay after a kill at any write, and files of another corpus are refused."""

import os
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from support.retrievers import TOKENS, dual_encoder, one_by_one
from support.stores import write_store
from support.vectors import encode_to_files

from bmae_lightning.retrieval.representation.hybrid import HybridRepresentation
from bmae_lightning.retrieval.vector_files import open_vectors
from bmae_lightning.runtime.errors import BadInput


def interrupted(after):
    """Ends an encoding, as a kill does, once it has done more than so many passages."""
    calls = []

    def advance(n):
        calls.append(n)
        if sum(calls) > after:
            raise KeyboardInterrupt

    return advance


def test_an_interrupted_encoding_keeps_its_whole_shards(model, store, tmp_path):
    def encode(name, advance=lambda n: None):
        return encode_to_files(model, store, 20, 256, "cpu", tmp_path / name, advance, shard=10).dense

    whole = encode("whole.npy")
    with pytest.raises(KeyboardInterrupt):
        encode("vectors.npy", interrupted(20))
    assert not (tmp_path / "vectors.npy").exists()
    done = []
    vectors = encode("vectors.npy", done.append)
    assert done[0] == 20
    assert sum(done) == 25
    assert np.array_equal(vectors, whole)
    assert not (tmp_path / "vectors.shards").exists()
    again = []
    assert np.array_equal(encode("vectors.npy", again.append), whole)
    assert again == [25], "nothing is encoded twice"


@pytest.mark.parametrize("dense", [6, 0])
def test_hybrid_passages_as_dense_rows_and_csr(store, tmp_path, dense):
    model = dual_encoder(HybridRepresentation("cls", dense, 9))
    done = []
    found = encode_to_files(model, store, 20, 256, "cpu", tmp_path / "passages.npy", done.append, shard=10)
    assert sum(done) == 25
    assert sorted(path.name for path in tmp_path.glob("*.npy*")) == [
        "passages.indices.npy", "passages.npy", "passages.values.npy",
    ]  # fmt: skip
    assert (found.dense.shape, found.indices.shape, found.values.shape) == ((25, dense), (25, 9), (25, 9))
    assert (found.dense.dtype, found.indices.dtype, found.values.dtype) == (np.float32, np.uint16, np.float32)
    assert (np.diff(found.indices.astype(int), axis=1) > 0).all()
    expected = one_by_one(model, store, 20)
    assert np.allclose(found.dense, expected.dense_BD, atol=1e-6)
    full_NV = np.zeros((25, len(TOKENS)), dtype=np.float32)
    np.put_along_axis(full_NV, found.indices.astype(int), found.values, axis=1)
    assert np.allclose(full_NV, expected.lexical.full(), atol=1e-5)


def test_a_kill_at_any_write_of_a_hybrid_encoding_changes_nothing(store, tmp_path, monkeypatch):
    """Three shards that become three files: stopped before every flush, renaming and removal, one after the other."""
    model = dual_encoder(HybridRepresentation("cls", 6, 9))

    def encode(name):
        return encode_to_files(model, store, 20, 256, "cpu", tmp_path / name, lambda n: None, shard=10)

    def ending(act, numbers, acts):
        """`act`, but the process ends before the act of that number."""

        def call(*arguments, **options):
            if next(numbers) >= acts:
                raise KeyboardInterrupt
            return act(*arguments, **options)

        return call

    whole, kills = encode("whole.npy"), 0
    for acts in count():
        name, ended, numbers = f"v{acts}.npy", True, count()
        with monkeypatch.context() as patched:
            for owner, act in ((os, "fsync"), (Path, "unlink"), (Path, "replace")):
                patched.setattr(owner, act, ending(getattr(owner, act), numbers, acts))
            try:
                encode(name)
            except KeyboardInterrupt:
                ended = False
        for path in list(tmp_path.glob(f"v{acts}.*.partial"))[-1:]:
            path.write_bytes(path.read_bytes() + b"half a row")
        again = encode(name)
        assert all(np.array_equal(one, two) for one, two in zip(whole, again, strict=True)), acts
        assert sorted(path.suffix for path in tmp_path.glob(f"v{acts}.*")) == [".json", ".npy", ".npy", ".npy"]
        if ended:
            break
        kills += 1
    assert kills > 20


def test_an_index_of_another_corpus_is_one_clear_line(model, store, tmp_path):
    def encode(of, length=20):
        return encode_to_files(model, of, length, 256, "cpu", tmp_path / "vectors.npy", lambda n: None).dense

    def other(digest, rows):
        texts = [store[row % len(store)] for row in range(rows)]
        return write_store(tmp_path / f"{digest}{rows}", texts, "p", len(TOKENS), digest)

    before = encode(store).copy()
    with pytest.raises(BadInput, match=r"vectors.npy: the corpus has changed .*passages 25.*now passages 26.*: remove"):
        encode(other("digest", 26))
    with pytest.raises(BadInput, match="tokenizer digest; now tokenizer elsewhere"):
        encode(other("elsewhere", 25))
    with pytest.raises(BadInput, match="length 20; now length 21"):
        encode(store, 21)
    assert np.array_equal(encode(other("digest", 25)), before)
    (tmp_path / "vectors.json").unlink()  # of an older version, which did not write it: begun again
    assert len(encode(other("digest", 26))) == 26


def test_files_that_are_missing_or_damaged_are_named(tmp_path):
    with pytest.raises(BadInput, match=r"passages.npy: the vectors cannot be read .*run again"):
        open_vectors(tmp_path / "passages.npy")
    (tmp_path / "passages.npy").write_bytes(b"no array")
    with pytest.raises(BadInput, match=r"passages.npy: the vectors cannot be read"):
        open_vectors(tmp_path / "passages.npy")
