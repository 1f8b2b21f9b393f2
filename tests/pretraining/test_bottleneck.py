"""Bottlenecks against a loop, and their blindness to padding."""

import torch

from bmae_lightning.pretraining.bottleneck import ClsBottleneck, MeanBottleneck


def test_cls_is_the_first_state():
    hidden_BLD = torch.rand(3, 5, 4)
    assert torch.equal(ClsBottleneck()(hidden_BLD, torch.ones(3, 5).bool()), hidden_BLD[:, 0])
    assert ClsBottleneck.pooling == "cls"


def test_mean_over_real_positions():
    hidden_BLD = torch.rand(3, 5, 4)
    lengths = [5, 2, 3]
    real_BL = torch.arange(5) < torch.tensor(lengths)[:, None]
    expected = torch.stack([hidden_BLD[b, :length].mean(0) for b, length in enumerate(lengths)])
    torch.testing.assert_close(MeanBottleneck()(hidden_BLD, real_BL), expected)
    noisy = hidden_BLD.masked_fill(~real_BL[:, :, None], 1e6)
    torch.testing.assert_close(MeanBottleneck()(noisy, real_BL), expected)
    assert MeanBottleneck.pooling == "mean"


def test_mean_of_nothing_is_finite():
    assert torch.equal(MeanBottleneck()(torch.rand(1, 2, 3), torch.zeros(1, 2).bool()), torch.zeros(1, 3))
