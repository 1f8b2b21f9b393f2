"""bag_of_words_loss against dense [B, V] targets and [B, L, V] logits, its analytic floor, and what it keeps."""

import math

import pytest
import torch
from torch import nn

from bmae_lightning.loss.bag_of_words import bag_of_words_loss, max_pool
from bmae_lightning.loss.normalise import mean_loss

B, L, D, V = 3, 11, 6, 40


class Head(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner, self.outer = nn.Linear(D, D), nn.Linear(D, V)
        self.rows = []

    def forward(self, hidden):
        self.rows.append(hidden.shape[:-1].numel())
        return self.outer(self.inner(hidden).tanh())


def example(seed=0):
    torch.manual_seed(seed)
    head = Head().double()
    hidden_BLD = torch.randn(B, L, D, dtype=torch.float64, requires_grad=True)
    pooled_BL = torch.rand(B, L) < 0.7
    pooled_BL[:, 3] = True
    labels_BT = torch.randint(0, 9, (B, 14))
    labels_BT[0, 5:] = labels_BT[1, :2] = -100
    return head, hidden_BLD, pooled_BL, labels_BT


def reference(head, hidden_BLD, pooled_BL, labels_BT, normalise):
    """Mean over passages, the way of the definition."""
    parts = []
    for hidden_LD, pooled_L, labels_T in zip(hidden_BLD, pooled_BL, labels_BT, strict=True):
        mu_V = torch.stack([head(hidden_LD[i]) for i in range(L) if pooled_L[i]]).max(0).values
        labels = [label for label in labels_T.tolist() if label >= 0]
        weight = torch.zeros(V, dtype=torch.float64)
        weight[labels] = 1 / len(labels) if normalise == "length" else 1.0
        parts.append(-(weight.float().double() * mu_V.log_softmax(0)).sum())
    return torch.stack(parts).mean()


def gradients(head, hidden_BLD, loss):
    return torch.autograd.grad(loss, [hidden_BLD, *head.parameters()])


@pytest.mark.parametrize("normalise", ["length", "none"])
@pytest.mark.parametrize("chunk", [1, 3, 6, 15, 33, 1024])
def test_p24_loss_and_gradients_equal_the_dense_reference(chunk, normalise):
    head, hidden_BLD, pooled_BL, labels_BT = example()
    loss = bag_of_words_loss(hidden_BLD, pooled_BL, labels_BT, head, normalise, chunk)
    assert loss.count == B
    mean = mean_loss(loss, "micro_mean")
    expected = reference(head, hidden_BLD, pooled_BL, labels_BT, normalise)
    torch.testing.assert_close(mean, expected, rtol=1e-12, atol=1e-12)
    pairs = zip(gradients(head, hidden_BLD, mean), gradients(head, hidden_BLD, expected), strict=True)
    for gradient, dense in pairs:
        torch.testing.assert_close(gradient, dense, rtol=1e-10, atol=1e-12)


def test_p25_the_target_is_a_set():
    head, hidden_BLD, pooled_BL, _ = example()

    def loss(ids, normalise="length"):
        labels_1T = torch.tensor([ids])
        return bag_of_words_loss(hidden_BLD[:1], pooled_BL[:1], labels_1T, head, normalise).total.item()

    assert loss([5, 7, 5, 9]) == pytest.approx(loss([9, 7, 7, 5]), rel=1e-12)
    assert loss([5, 7, 5, 9]) == pytest.approx(loss([5, 7, 9]) * 3 / 4, rel=1e-6)
    assert loss([5, 7, 5, 9], "none") == pytest.approx(loss([5, 7, 9], "none"), rel=1e-12)
    assert loss([5, 7, 5, 9], "none") == pytest.approx(loss([5, 7, 5, 9]) * 4, rel=1e-6)
    assert loss([5, 7, 9]) != pytest.approx(loss([5, 7, 8]), rel=1e-3)


def test_p26_floor():
    labels_1T = torch.tensor([[5, 7, 5, 9]])
    logits_11V = torch.full((1, 1, V), -50.0, dtype=torch.float64)
    logits_11V[..., [5, 7, 9]] = 3.0
    pooled_11 = torch.ones(1, 1, dtype=torch.bool)
    best = bag_of_words_loss(logits_11V, pooled_11, labels_1T, nn.Identity()).total.item()
    assert best == pytest.approx(0.75 * math.log(3), abs=1e-7)
    for seed in range(20):
        other_11V = logits_11V + torch.randn(V, generator=torch.Generator().manual_seed(seed))
        assert bag_of_words_loss(other_11V, pooled_11, labels_1T, nn.Identity()).total.item() > best


@pytest.mark.parametrize("chunk", [3, 1024])
def test_p27_pool(chunk):
    head, hidden_BLD, pooled_BL, _ = example()
    mu_BV = max_pool(hidden_BLD, pooled_BL, head, chunk)
    logits_BLV = head(hidden_BLD).masked_fill(~pooled_BL[..., None], -math.inf)
    winner_BV = logits_BLV.argmax(1)

    noisy_BLD = torch.where(pooled_BL[..., None], hidden_BLD, torch.randn(B, L, D).double())
    assert torch.equal(max_pool(noisy_BLD, pooled_BL, head, chunk), mu_BV)

    order = torch.randperm(L)
    torch.testing.assert_close(max_pool(hidden_BLD[:, order], pooled_BL[:, order], head, chunk), mu_BV)

    for b in range(B):
        for position in range(L):
            (gradient_BLD,) = torch.autograd.grad(
                mu_BV[b][winner_BV[b] != position].sum(), hidden_BLD, retain_graph=True
            )
            assert (gradient_BLD[b, position] == 0).all()
    lower_BLD = hidden_BLD.detach().clone()
    lower_BLD[0, 3] += 1e-6
    moved_V = max_pool(lower_BLD, pooled_BL, head, chunk)[0] != mu_BV[0]
    assert moved_V.any()
    assert torch.equal(moved_V, winner_BV[0] == 3)


@pytest.mark.parametrize("chunk", [3, 1024])
def test_p27_of_equal_logits_one_position_takes_the_gradient(chunk):
    hidden_BLD = torch.zeros(1, 4, V, dtype=torch.float64, requires_grad=True)
    max_pool(hidden_BLD, torch.tensor([[False, True, True, True]]), nn.Identity(), min(chunk, 4)).sum().backward()
    assert torch.equal(hidden_BLD.grad.sum(-1), torch.tensor([[0, V, 0, 0]]).double())


def test_no_dense_logits_are_kept_and_the_head_sees_few_rows():
    torch.manual_seed(0)
    batch, length, vocabulary = 2, 64, 500
    head = nn.Linear(D, vocabulary)
    hidden_BLD = torch.randn(batch, length, D, requires_grad=True)
    labels_BT = torch.randint(0, vocabulary, (batch, 20))
    kept, rows = [], []
    head.register_forward_pre_hook(lambda _, inputs: rows.append(inputs[0].shape[:-1].numel()))

    def pack(tensor):
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = bag_of_words_loss(hidden_BLD, torch.ones(batch, length).bool(), labels_BT, head, chunk=16)
    size = sum(tensor.nbytes for tensor in {tensor.data_ptr(): tensor for tensor in kept}.values())
    assert size < batch * length * vocabulary * 4 / 4
    loss.total.backward()
    assert max(rows) == 16
    assert sum(rows) == 2 * batch * length


@pytest.mark.parametrize("chunk", [3, 1024])
def test_p13_passages_without_labels_or_pool(chunk):
    head, hidden_BLD, pooled_BL, labels_BT = example()
    alone = bag_of_words_loss(hidden_BLD[2:], pooled_BL[2:], labels_BT[2:], head, chunk=chunk)
    pooled_BL[0], labels_BT[1] = False, -100
    loss = bag_of_words_loss(hidden_BLD, pooled_BL, labels_BT, head, chunk=chunk)
    assert loss.count == 1
    torch.testing.assert_close(loss.total, alone.total)
    loss.total.backward()
    assert (hidden_BLD.grad[:2] == 0).all()
    assert hidden_BLD.grad[2].abs().sum() > 0
    nothing = bag_of_words_loss(hidden_BLD, pooled_BL & False, labels_BT, head, chunk=chunk)
    assert (nothing.total.item(), nothing.count.item()) == (0, 0)
    for gradient in gradients(head, hidden_BLD, nothing.total):
        assert (gradient == 0).all()


def test_half_precision_logits_give_a_float32_loss():
    head, hidden_BLD, pooled_BL, labels_BT = example()
    exact = bag_of_words_loss(hidden_BLD, pooled_BL, labels_BT, head).total
    half = bag_of_words_loss(hidden_BLD.bfloat16(), pooled_BL, labels_BT, head.bfloat16(), chunk=6).total
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.double(), exact, rtol=0.03, atol=0.0)


def test_unknown_normalisation():
    with pytest.raises(ValueError, match="normalise must be one of length, none, got 'mean'"):
        bag_of_words_loss(
            torch.zeros(1, 1, 1), torch.ones(1, 1).bool(), torch.zeros(1, 1).long(), nn.Identity(), "mean"
        )
