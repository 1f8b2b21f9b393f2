"""bag_of_words_loss against dense [B, V] targets and [B, L, V] logits, its analytic floor, and what it keeps."""

import math

import pytest
import torch
from torch import nn
from torch.nn.functional import linear

from bmae_lightning.encoder.vocabulary_head import VocabularyHead
from bmae_lightning.pretraining.loss.bag_of_words import bag_of_words_loss, max_pool
from bmae_lightning.pretraining.loss.normalise import mean_loss

B, L, D, V = 3, 11, 6, 40


AS_THEY_ARE = VocabularyHead(nn.Identity(), torch.eye(V).double())
"""States are their own logits."""


def head_of(dtype):
    """Its transform, weight and bias need gradients."""
    inner, outer = nn.Linear(D, D, dtype=dtype), nn.Linear(D, V, dtype=dtype)
    return VocabularyHead(nn.Sequential(inner, nn.Tanh()), outer.weight, outer.bias)


def example(seed=0):
    torch.manual_seed(seed)
    head = head_of(torch.float64)
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
    parameters = [*head.transform.parameters(), head.weight_VD, head.bias_V]
    return torch.autograd.grad(loss, [hidden_BLD, *parameters])


@pytest.mark.parametrize("normalise", ["length", "none"])
@pytest.mark.parametrize("chunk", [1, 3, 6, 15, 33, 1024])
def test_loss_and_gradients_equal_the_dense_reference(chunk, normalise):
    head, hidden_BLD, pooled_BL, labels_BT = example()
    loss = bag_of_words_loss(hidden_BLD, pooled_BL, labels_BT, head, normalise, chunk)
    assert loss.count == B
    mean = mean_loss(loss, "micro_mean")
    expected = reference(head, hidden_BLD, pooled_BL, labels_BT, normalise)
    torch.testing.assert_close(mean, expected, rtol=1e-12, atol=1e-12)
    pairs = zip(gradients(head, hidden_BLD, mean), gradients(head, hidden_BLD, expected), strict=True)
    for gradient, dense in pairs:
        torch.testing.assert_close(gradient, dense, rtol=1e-10, atol=1e-12)


def test_the_target_is_a_set():
    head, hidden_BLD, pooled_BL, _ = example()

    def loss(ids, normalise="length"):
        labels_1T = torch.tensor([ids])
        return bag_of_words_loss(hidden_BLD[:1], pooled_BL[:1], labels_1T, head, normalise).total.item()

    assert loss([5, 7, 5, 9]) == pytest.approx(loss([9, 7, 7, 5]), rel=1e-12)
    assert loss([5, 7, 5, 9]) == pytest.approx(loss([5, 7, 9]) * 3 / 4, rel=1e-6)
    assert loss([5, 7, 5, 9], "none") == pytest.approx(loss([5, 7, 9], "none"), rel=1e-12)
    assert loss([5, 7, 5, 9], "none") == pytest.approx(loss([5, 7, 5, 9]) * 4, rel=1e-6)
    assert loss([5, 7, 9]) != pytest.approx(loss([5, 7, 8]), rel=1e-3)


def test_the_loss_is_least_for_a_uniform_soft_max_over_the_set():
    labels_1T = torch.tensor([[5, 7, 5, 9]])
    logits_11V = torch.full((1, 1, V), -50.0, dtype=torch.float64)
    logits_11V[..., [5, 7, 9]] = 3.0
    pooled_11 = torch.ones(1, 1, dtype=torch.bool)
    best = bag_of_words_loss(logits_11V, pooled_11, labels_1T, AS_THEY_ARE).total.item()
    assert best == pytest.approx(0.75 * math.log(3), abs=1e-7)
    for seed in range(20):
        other_11V = logits_11V + torch.randn(V, generator=torch.Generator().manual_seed(seed))
        assert bag_of_words_loss(other_11V, pooled_11, labels_1T, AS_THEY_ARE).total.item() > best


@pytest.mark.parametrize("chunk", [3, 1024])
def test_the_pool_ignores_cls_and_padding_and_moves_only_where_it_is_reached(chunk):
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
def test_of_equal_logits_one_position_takes_the_gradient(chunk):
    hidden_BLD = torch.zeros(1, 4, V, dtype=torch.float64, requires_grad=True)
    max_pool(hidden_BLD, torch.tensor([[False, True, True, True]]), AS_THEY_ARE, min(chunk, 4)).sum().backward()
    assert torch.equal(hidden_BLD.grad.sum(-1), torch.tensor([[0, V, 0, 0]]).double())


def test_no_dense_logits_are_kept_and_few_exist_at_a_time(monkeypatch):
    torch.manual_seed(0)
    batch, length, vocabulary = 2, 64, 500
    head = VocabularyHead(nn.Identity(), torch.randn(vocabulary, D, requires_grad=True))
    hidden_BLD = torch.randn(batch, length, D, requires_grad=True)
    labels_BT = torch.randint(0, vocabulary, (batch, 20))
    kept, rows = [], []

    def counted(states, *arguments):
        rows.append(states.shape[:-1].numel())
        return linear(states, *arguments)

    def pack(tensor):
        kept.append(tensor)
        return tensor

    monkeypatch.setattr("bmae_lightning.pretraining.loss.bag_of_words.linear", counted)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = bag_of_words_loss(hidden_BLD, torch.ones(batch, length).bool(), labels_BT, head, chunk=16)
    size = sum(tensor.nbytes for tensor in {tensor.data_ptr(): tensor for tensor in kept}.values())
    assert size < batch * length * vocabulary * 4 / 4
    loss.total.backward()
    assert max(rows) == 16
    assert sum(rows) == batch * length


def test_gradients_of_a_few_entries_are_those_of_a_plain_maximum():
    head, hidden_BLD, pooled_BL, _ = example()
    logits_BLV = head(hidden_BLD).masked_fill(~pooled_BL[..., None], -math.inf)
    losses = [
        mu_BV.topk(4, 1).values.pow(2).sum() for mu_BV in (max_pool(hidden_BLD, pooled_BL, head, 5), logits_BLV.amax(1))
    ]
    for gradient, plain in zip(*(gradients(head, hidden_BLD, loss) for loss in losses), strict=True):
        torch.testing.assert_close(gradient, plain, rtol=1e-10, atol=1e-12)


def test_a_frozen_head_takes_no_gradient_and_passes_it_on():
    head, hidden_BLD, pooled_BL, _ = example()
    frozen = VocabularyHead(head.transform, head.weight_VD.detach(), None)
    expected = frozen(hidden_BLD).masked_fill(~pooled_BL[..., None], -math.inf).amax(1).pow(3).sum()
    found = max_pool(hidden_BLD, pooled_BL, frozen, 9).pow(3).sum()
    for gradient, plain in zip(*(torch.autograd.grad(loss, hidden_BLD) for loss in (found, expected)), strict=True):
        torch.testing.assert_close(gradient, plain, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("chunk", [3, 1024])
def test_passages_without_labels_or_pool(chunk):
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
    parts = [part.detach().bfloat16().requires_grad_() for part in (head.weight_VD, head.bias_V)]
    rough = VocabularyHead(head.transform.bfloat16(), *parts)
    state_BLD = hidden_BLD.detach().bfloat16().requires_grad_()
    half = bag_of_words_loss(state_BLD, pooled_BL, labels_BT, rough, chunk=6).total
    assert half.dtype == torch.float32
    torch.testing.assert_close(half.double(), exact, rtol=0.03, atol=0.0)
    half.backward()
    assert {part.grad.dtype for part in (state_BLD, *parts)} == {torch.bfloat16}


def test_autocast_pools_in_half_precision_and_its_gradients_are_close():
    torch.manual_seed(0)
    head, (_, hidden_BLD, pooled_BL, labels_BT) = head_of(torch.float32), example()
    hidden_BLD = hidden_BLD.detach().float().requires_grad_()
    found = []
    for enabled in (False, True):
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = bag_of_words_loss(hidden_BLD, pooled_BL, labels_BT, head).total
        found.append(gradients(head, hidden_BLD, loss))
    for exact, half in zip(*found, strict=True):
        assert half.dtype == torch.float32
        assert torch.nn.functional.cosine_similarity(exact.flatten(), half.flatten(), 0) > 0.98


def test_unknown_normalisation():
    with pytest.raises(ValueError, match="normalise must be one of length, none, got 'mean'"):
        bag_of_words_loss(torch.zeros(1, 1, 1), torch.ones(1, 1).bool(), torch.zeros(1, 1).long(), AS_THEY_ARE, "mean")
