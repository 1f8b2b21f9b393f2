"""vocabulary_loss against dense cross-entropy, with and without chunks."""

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from bmae_lightning.pretraining.loss.vocabulary import vocabulary_loss


def setup(dtype=torch.float64):
    torch.manual_seed(0)
    head = nn.Sequential(nn.Linear(6, 6), nn.GELU(), nn.Linear(6, 11)).to(dtype)
    hidden_BLD = torch.randn(3, 7, 6, dtype=dtype, requires_grad=True)
    labels_BL = torch.randint(0, 11, (3, 7)).masked_fill(torch.rand(3, 7) < 0.4, -100)
    return head, hidden_BLD, labels_BL


def gradients(loss, head, hidden_BLD):
    return torch.autograd.grad(loss, [hidden_BLD, *head.parameters()])


@pytest.mark.parametrize("chunk", [1, 4, 1024])
def test_equals_dense_cross_entropy(chunk):
    head, hidden_BLD, labels_BL = setup()
    loss = vocabulary_loss(hidden_BLD, labels_BL, head, chunk)
    expected = cross_entropy(head(hidden_BLD).flatten(0, 1), labels_BL.flatten(), reduction="sum", ignore_index=-100)
    assert loss.count == (labels_BL >= 0).sum() > 4
    torch.testing.assert_close(loss.total, expected)
    pairs = zip(gradients(loss.total, head, hidden_BLD), gradients(expected, head, hidden_BLD), strict=True)
    for ours, theirs in pairs:
        torch.testing.assert_close(ours, theirs)


def test_head_sees_labelled_rows_in_chunks_and_again_in_backward():
    head, hidden_BLD, labels_BL = setup()
    rows = []
    count = int((labels_BL >= 0).sum())
    loss = vocabulary_loss(hidden_BLD, labels_BL, lambda x: (rows.append(len(x)), head(x))[1], chunk=5)
    assert max(rows) == 5
    assert sum(rows) == count
    loss.total.backward()
    assert sum(rows) == 2 * count
    rows.clear()
    vocabulary_loss(hidden_BLD, labels_BL, lambda x: (rows.append(len(x)), head(x))[1], chunk=count).total.backward()
    assert rows == [count]


@pytest.mark.parametrize("chunk", [1, 1024])
def test_no_label_gives_zero_with_zero_gradient(chunk):
    head, hidden_BLD, labels_BL = setup()
    loss = vocabulary_loss(hidden_BLD, torch.full_like(labels_BL, -100), head, chunk)
    assert (loss.total.item(), loss.count.item()) == (0, 0)
    for gradient in gradients(loss.total, head, hidden_BLD):
        assert torch.equal(gradient, torch.zeros_like(gradient))


def test_half_precision_logits_are_widened():
    head, hidden_BLD, labels_BL = setup(torch.bfloat16)
    loss = vocabulary_loss(hidden_BLD, labels_BL, head)
    assert loss.total.dtype == torch.float32
    logits_NV = head(hidden_BLD)[labels_BL >= 0].float()
    torch.testing.assert_close(loss.total, cross_entropy(logits_NV, labels_BL[labels_BL >= 0], reduction="sum"))
