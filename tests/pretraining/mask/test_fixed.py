"""FixedMask: every token that is not special, or none."""

import pytest
import torch
from support.masks import noise, select, texts

from bmae_lightning.pretraining.mask.fixed import FixedMask


def test_everything_and_nothing():
    tokens, vocabulary = texts()
    everything_BL = select(FixedMask("everything"), tokens, vocabulary, noise(4), "x")
    assert everything_BL.sum(1).tolist() == [29, 7, 1, 18]  # the first text holds an [UNK]
    assert not (everything_BL & vocabulary.special_V[tokens.ids_BL]).any()
    assert not select(FixedMask("nothing"), tokens, vocabulary, noise(4), "x").any()
    rows_BRL = select(FixedMask("everything"), tokens, vocabulary, noise(4), "x", rows=3)
    assert torch.equal(rows_BRL, everything_BL[:, None].expand(-1, 3, -1))


def test_unknown_selection():
    with pytest.raises(ValueError, match="select must be one of everything, nothing, got 'all'"):
        FixedMask("all")
