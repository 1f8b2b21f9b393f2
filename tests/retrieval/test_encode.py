"""Vectors of a store: independent of batching and padding, resumable by shard, in row order."""

import os
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from support.stores import write_store
from support.vectors import encode_to_files
from transformers import BertConfig, BertForMaskedLM

from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.retrieval import encode as encoding
from bmae_lightning.retrieval.dual_encoder import DualEncoder
from bmae_lightning.retrieval.representation.hybrid import HybridRepresentation
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.retrieval.representation.vectors import Vectors
from bmae_lightning.runtime.errors import BadInput

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(60))]


def build(representation, similarity="dot", shared=True):
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(TOKENS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32
    )
    encoder = Encoder(BertForMaskedLM(config), Vocabulary.from_tokens(TOKENS))
    return DualEncoder(encoder, representation, similarity, shared).eval()


@pytest.fixture
def model():
    return build(PooledRepresentation("mean"), "cos")


@pytest.fixture
def store(tmp_path):
    draw = np.random.default_rng(0)
    rows = [draw.integers(5, len(TOKENS), int(draw.integers(1, 40))) for _ in range(25)]
    return write_store(tmp_path / "store", rows, "p", len(TOKENS))


def one_by_one(model, store, length, passages=True):
    with torch.inference_mode():
        pad = model.encoder.vocabulary.pad
        return Vectors.cat([model(pad([store[row]], length), passages=passages) for row in range(len(store))])


@pytest.mark.parametrize("batch_tokens", [1, 64, 4096])
def test_batches_and_padding_change_nothing(model, store, batch_tokens):
    done = []
    vectors = encoding.encode(model, store, np.arange(len(store)), 20, batch_tokens, "cpu", done.append)
    assert np.allclose(vectors, one_by_one(model, store, 20).dense_BD, atol=1e-6)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert sum(done) == len(store)
    chosen = np.array([7, 3])
    assert np.allclose(encoding.encode(model, store, chosen, 20, 64, "cpu", done.append), vectors[chosen], atol=1e-6)


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


def test_the_head_is_neither_used_nor_trained(model):
    tokens = model.encoder.vocabulary.pad([np.array([6, 7, 8])], 20)
    model.train()
    model(tokens, passages=True).dense_BD.sum().backward()
    unused = [name for name, p in model.named_parameters() if p.requires_grad and p.grad is None]
    assert unused == []
    assert not model.encoder.masked_lm.cls.predictions.transform.dense.weight.requires_grad


@pytest.mark.parametrize("dense", [6, 0])
def test_hybrid_passages_as_dense_rows_and_csr(store, tmp_path, dense):
    model = build(HybridRepresentation("cls", dense, 9))
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
    model = build(HybridRepresentation("cls", 6, 9))

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


def test_hybrid_queries_keep_all_entries_and_encode_refuses(store):
    model = build(HybridRepresentation("cls", 6, 9))
    rows = np.array([4, 2, 9])
    found = encoding.encode_vectors(model, store, rows, 20, 64, "cpu", lambda n: None, passages=False)
    expected = one_by_one(model, store, 20, passages=False)
    for one, two in zip(found.tensors(), expected.tensors(), strict=True):
        torch.testing.assert_close(one, two[rows], rtol=0, atol=1e-5)
    with pytest.raises(ValueError, match="lexical part"):
        encoding.encode(model, store, rows, 20, 64, "cpu", lambda n: None)


def test_separate_encoders_encode_their_own_side(store):
    model = build(PooledRepresentation("cls"), shared=False)
    with torch.no_grad():
        for parameter in model.passage_encoder.parameters():
            parameter.add_(0.1)
    for passages in (False, True):
        vectors = encoding.encode(model, store, np.arange(25), 20, 64, "cpu", lambda n: None, passages)
        assert np.allclose(vectors, one_by_one(model, store, 20, passages).dense_BD, atol=1e-5)


def test_an_index_of_another_corpus_is_one_clear_line(model, store, tmp_path):
    def encode(of, length=20):
        return encode_to_files(model, of, length, 256, "cpu", tmp_path / "vectors.npy", lambda n: None).dense

    def other(digest, rows):
        content = [store[row % len(store)] for row in range(rows)]
        return write_store(tmp_path / f"{digest}{rows}", content, "p", len(TOKENS), digest)

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
