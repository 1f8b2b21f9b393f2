"""detection_loss against the formula written out, and its sums by passage."""

import math

import torch
from torch import nn

from bmae_lightning.pretraining.loss.detection import detection_loss


def test_binary_cross_entropy_by_passage():
    torch.manual_seed(0)
    hidden_BLD, head = torch.randn(2, 5, 3).double(), nn.Linear(3, 1).double()
    candidate_BL = torch.tensor([[False, True, True, True, False], [False, True, False, False, False]])
    replaced_BL = torch.tensor([[True, True, False, True, True], [False, False, True, False, False]])
    loss = detection_loss(hidden_BLD, replaced_BL, candidate_BL, head)
    for b in range(2):
        expected = 0.0
        for i in range(5):
            if candidate_BL[b, i]:
                probability = 1 / (1 + math.exp(-head(hidden_BLD[b, i]).item()))
                expected -= math.log(probability if replaced_BL[b, i] else 1 - probability)
        assert abs(loss.total_B[b].item() - expected) < 1e-12
    assert loss.count_B.tolist() == [3, 1]


def test_no_candidate_gives_zero_with_a_gradient():
    hidden_BLD, head = torch.randn(2, 4, 3, requires_grad=True), nn.Linear(3, 1)
    none_BL = torch.zeros(2, 4).bool()
    loss = detection_loss(hidden_BLD, none_BL, none_BL, head)
    loss.total.backward()
    assert (loss.total.item(), loss.count.item()) == (0, 0)
    assert hidden_BLD.grad.abs().sum() == 0
