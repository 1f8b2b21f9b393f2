"""Pairs against a slow reference, moving, and a light import."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from bmae_lightning.encoder.batch import RetrievalBatch, TextBatch, Tokens, pad_pairs


def test_moves_every_tensor():
    tokens = Tokens(torch.ones(2, 3, dtype=torch.long), torch.ones(2, 3).bool(), {"importance": torch.rand(2, 3)})
    batch = TextBatch({"passage": tokens, "queries": tokens}, torch.arange(2), torch.zeros(2).long())
    moved = batch.to("meta")
    for stream in moved.streams.values():
        for tensor in (stream.ids_BL, stream.real_BL, stream.values["importance"]):
            assert tensor.device.type == "meta"
    assert (moved.passage_B.device.type, moved.epoch_B.device.type) == ("meta", "meta")
    first = batch.first(1)
    assert (first.passage_B.tolist(), first.streams["queries"].values["importance"].shape) == ([0], (1, 3))


def test_import_is_light():
    code = (
        "import sys, bmae_lightning.encoder.batch; "
        "assert not {'transformers', 'pytorch_lightning', 'hydra'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def pair_reference(query, passage, max_length):
    """[CLS] query [SEP] passage [SEP], the passage cut first and never to nothing."""
    query, passage = list(query), list(passage)
    while len(query) + len(passage) + 3 > max_length:
        (passage if len(passage) > 1 else query).pop()
    return [2, *query, 3, *passage, 3], [0] * (len(query) + 2) + [1] * (len(passage) + 1)


@pytest.mark.parametrize("max_length", [5, 8, 12, 64])
def test_pairs_equal_a_reference_and_keep_both_parts(max_length):
    generator = np.random.default_rng(0)
    sizes = [(4, 9), (1, 1), (30, 5), (3, 40), (0, 4), (2, 0), (30, 0), (9, 1)]
    rows = [[generator.integers(5, 99, size).astype(np.uint16) for size in pair] for pair in sizes]
    pairs = pad_pairs(*zip(*rows, strict=True), cls_id=2, sep_id=3, pad_id=0, max_length=max_length)
    length = pairs.ids_PL.shape[1]
    assert length <= max_length
    assert (pairs.ids_PL.dtype, pairs.real_PL.dtype, pairs.types_PL.dtype) == (torch.int64, torch.bool, torch.int64)
    for row, (query, passage) in enumerate(rows):
        ids, types = pair_reference(query, passage, max_length)
        padding = [0] * (length - len(ids))
        assert pairs.ids_PL[row].tolist() == ids + padding
        assert pairs.types_PL[row].tolist() == types + padding
        assert pairs.real_PL[row].tolist() == [True] * len(ids) + [False] * len(padding)
        assert ids.count(3) == 2
        assert len(ids) > 3 + (len(query) > 0)  # something of both parts is left


def test_two_separators_between_the_parts():
    pairs = pad_pairs(
        [np.array([5, 6])], [np.array([7, 8, 9])], cls_id=0, sep_id=2, pad_id=1, max_length=8, separators=2
    )
    assert pairs.ids_PL.tolist() == [[0, 5, 6, 2, 2, 7, 8, 2]]
    assert pairs.types_PL.tolist() == [[0, 0, 0, 0, 0, 1, 1, 1]]


def test_pair_mistakes():
    row = [np.array([5, 6])]
    special = {"cls_id": 2, "sep_id": 3, "pad_id": 0}
    with pytest.raises(ValueError, match="at least 5"):
        pad_pairs(row, row, **special, max_length=4)
    with pytest.raises(ValueError, match="1 queries and 2 passages"):
        pad_pairs(row, row * 2, **special, max_length=8)


def test_a_retrieval_batch_moves_with_what_it_has():
    tokens = Tokens(torch.tensor([[2, 5, 6, 3]]), torch.ones(1, 4).bool())
    moved = RetrievalBatch(tokens, tokens, passage_N=torch.tensor([3])).to("meta")
    assert moved.queries.ids_BL.device.type == moved.passage_N.device.type == "meta"
    assert moved.teacher_Bn is None
