"""What decoders share: argument checks, the bottleneck in slot 0, the guessed text."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.decoder.decoder import guess
from bmae_lightning.pretraining.decoder.enhanced import EnhancedDecoder
from bmae_lightning.pretraining.decoder.shallow import ShallowDecoder
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.view import share


def test_guess_fills_labelled_positions_with_the_most_likely_id():
    encoder = SimpleNamespace(head=nn.Identity())
    hidden_BLD = torch.eye(5)[torch.tensor([[3, 1, 4, 2]])]
    labels_BL = torch.tensor([[-100, 0, 0, -100]])
    original_BL = torch.tensor([[9, 8, 7, 6]])
    assert guess(encoder, hidden_BLD, labels_BL, original_BL).tolist() == [[9, 1, 4, 6]]
    assert original_BL.tolist() == [[9, 8, 7, 6]]


def test_share_of_nothing_is_zero():
    assert share(torch.tensor([True, False, True]), torch.tensor([True] * 3 + [False])).item() == pytest.approx(2 / 3)
    assert share(torch.tensor([False]), torch.tensor([False])).item() == 0


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_weight_must_be_a_number(weight):
    with pytest.raises(ValueError, match="weight must be a number of at least 0, got"):
        EnhancedDecoder(UniformMask(0.5), weight=weight)
    with pytest.raises(ValueError, match="weight must be a number of at least 0, got"):
        ShallowDecoder(UniformMask(0.5), BertCorruption(), weight=weight)


def test_constructors_allocate_nothing_and_check_spans():
    for decoder in (EnhancedDecoder(UniformMask(0.5)), ShallowDecoder(UniformMask(0.5), BertCorruption(), layers=3)):
        assert not list(decoder.parameters())
    with pytest.raises(ValueError, match="span must be one of whole, first_half, second_half, got 'half'"):
        EnhancedDecoder(UniformMask(0.5), span="half")
