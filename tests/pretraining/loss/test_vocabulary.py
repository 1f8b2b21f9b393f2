"""vocabulary_loss against dense cross-entropy, with and without chunks, whatever its losses are weighted by."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bmae_lightning.encoder.vocabulary_head import VocabularyHead
from bmae_lightning.pretraining.loss import linear_cross_entropy
from bmae_lightning.pretraining.loss.normalise import NORMS, mean_loss
from bmae_lightning.pretraining.loss.vocabulary import TokenLoss, vocabulary_loss


def setup(dtype=torch.float64):
    torch.manual_seed(0)
    parts = nn.Sequential(nn.Linear(6, 6), nn.GELU(), nn.Linear(6, 11)).to(dtype)
    hidden_BLD = torch.randn(3, 7, 6, dtype=dtype, requires_grad=True)
    labels_BL = torch.randint(0, 11, (3, 7)).masked_fill(torch.rand(3, 7) < 0.4, -100)
    return parts, VocabularyHead(parts[:2], parts[2].weight, parts[2].bias), hidden_BLD, labels_BL


def dense(parts, hidden_BLD, labels_BL):
    """The loss of every position, 0 where there is no label [B, L]."""
    return cross_entropy(parts(hidden_BLD).transpose(1, 2), labels_BL, reduction="none", ignore_index=-100)


def gradients(loss, parts, hidden_BLD):
    return torch.autograd.grad(loss, [hidden_BLD, *parts.parameters()])


def assert_same(loss, expected, parts, hidden_BLD):
    torch.testing.assert_close(loss, expected)
    for ours, theirs in zip(gradients(loss, parts, hidden_BLD), gradients(expected, parts, hidden_BLD), strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("chunk", [1, 4, 1024])
def test_equals_dense_cross_entropy(chunk):
    parts, head, hidden_BLD, labels_BL = setup()
    loss = vocabulary_loss(hidden_BLD, labels_BL, head, chunk)
    assert loss.count == (labels_BL >= 0).sum() > 4
    assert_same(loss.total, dense(parts, hidden_BLD, labels_BL).sum(), parts, hidden_BLD)


@pytest.mark.parametrize("by_passage", [True, False])
@pytest.mark.parametrize("norm", [*NORMS, "odd"])
def test_whatever_the_losses_are_weighted_by_the_gradient_is_theirs(norm, by_passage, monkeypatch):
    """Gradients made in forward serve where the guess was right, and are made anew where it was not."""
    parts, head, hidden_BLD, labels_BL = setup()
    passes = []
    chunks = linear_cross_entropy._chunks
    monkeypatch.setattr(linear_cross_entropy, "_chunks", lambda *args: (passes.append(1), chunks(*args))[1])
    loss = vocabulary_loss(hidden_BLD, labels_BL, head._replace(by_passage=by_passage), chunk=4)
    dense_BL = dense(parts, hidden_BLD, labels_BL)
    if norm == "odd":
        found = (loss.total_B * torch.tensor([3.0, -1.0, 0.0])).sum()
        wanted = (dense_BL.sum(1) * torch.tensor([3.0, -1.0, 0.0])).sum()
    else:
        found, wanted = mean_loss(loss, norm), mean_loss(TokenLoss(dense_BL.sum(1), loss.count_B), norm)
    assert_same(7 * found, 7 * wanted, parts, hidden_BLD)
    right = norm != "odd" and by_passage == (norm == "seq_mean")
    assert len(passes) == (1 if right else 2)


def test_frozen_parts_get_no_gradient():
    parts, head, hidden_BLD, labels_BL = setup()
    parts[2].requires_grad_(False)
    vocabulary_loss(hidden_BLD, labels_BL, head).total.backward()
    wanted = torch.autograd.grad(dense(parts, other := hidden_BLD.detach().requires_grad_(), labels_BL).sum(), other)
    torch.testing.assert_close(hidden_BLD.grad, *wanted)
    assert parts[2].weight.grad is None
    with torch.no_grad():
        assert not vocabulary_loss(hidden_BLD, labels_BL, head).total.requires_grad


@pytest.mark.parametrize("chunk", [1, 1024])
def test_no_label_gives_zero_with_zero_gradient(chunk):
    parts, head, hidden_BLD, labels_BL = setup()
    loss = vocabulary_loss(hidden_BLD, torch.full_like(labels_BL, -100), head, chunk)
    assert (loss.total.item(), loss.count.item()) == (0, 0)
    for gradient in gradients(loss.total, parts, hidden_BLD):
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_half_precision_logits_are_widened():
    parts, head, hidden_BLD, labels_BL = setup(torch.bfloat16)
    loss = vocabulary_loss(hidden_BLD, labels_BL, head)
    assert loss.total.dtype == torch.float32
    logits_NV = parts(hidden_BLD)[labels_BL >= 0].float()
    torch.testing.assert_close(loss.total, cross_entropy(logits_NV, labels_BL[labels_BL >= 0], reduction="sum"))
    assert [gradient.dtype for gradient in gradients(loss.total, parts, hidden_BLD)] == [torch.bfloat16] * 5


def test_autocast_is_that_of_torch():
    parts, head, hidden_BLD, labels_BL = setup(torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        loss = vocabulary_loss(hidden_BLD, labels_BL, head).total
        logits_NV = parts(hidden_BLD)[labels_BL >= 0].float()
    wanted = cross_entropy(logits_NV, labels_BL[labels_BL >= 0], reduction="sum")
    torch.testing.assert_close(loss, wanted)
    for ours, theirs in zip(gradients(loss, parts, hidden_BLD), gradients(wanted, parts, hidden_BLD), strict=True):
        assert ours.dtype == theirs.dtype == torch.float32
        torch.testing.assert_close(ours, theirs, atol=0.03, rtol=0.03)
