"""List-wise loss by hand and by its invariances."""

import math

import pytest
import torch

from bmae_lightning.retrieval.loss.listwise import hardest, listwise_loss


def drawn(B=3, n=5):
    torch.manual_seed(0)
    return torch.randn(B, n, dtype=torch.float64), torch.randn(B, n, dtype=torch.float64)


def test_equal_scores_cost_log_n_and_the_positive_is_kept():
    assert listwise_loss(torch.full((2, 7), 3.0)).loss.item() == pytest.approx(math.log(7))
    scores_Bn, _ = drawn()
    scores_Bn[0, 0] = -100.0
    for keep in range(1, 6):
        kept_BK = hardest(scores_Bn, keep)
        assert kept_BK.shape == (3, keep)
        for row, kept in zip(scores_Bn.tolist(), kept_BK.tolist(), strict=True):
            others = sorted(range(1, 5), key=lambda column: -row[column])
            assert kept == [0, *others[: keep - 1]]
    with pytest.raises(ValueError, match="keep must lie between 1 and the group of 5"):
        hardest(scores_Bn, 6)


def test_the_same_pass_twice_adds_nothing():
    scores_Bn, again_Bn = drawn()
    once, twice = listwise_loss(scores_Bn), listwise_loss(scores_Bn, again_Bn=scores_Bn.clone())
    assert twice.divergence.item() == pytest.approx(0, abs=1e-15)
    assert twice.loss.item() == pytest.approx(once.loss.item(), abs=1e-12)
    assert listwise_loss(scores_Bn, again_Bn=again_Bn).divergence > 0.1


def test_two_passes_by_loop():
    one_Bn, two_Bn = drawn()
    divergence = entropy = 0.0
    for one, two in zip((one_Bn / 0.5).softmax(1).tolist(), (two_Bn / 0.5).softmax(1).tolist(), strict=True):
        forth = sum(p * math.log(p / q) for p, q in zip(one, two, strict=True))
        back = sum(q * math.log(q / p) for p, q in zip(one, two, strict=True))
        divergence += (forth + back) / 2 / 3
        entropy -= (math.log(one[0]) + math.log(two[0])) / 2 / 3
    found = listwise_loss(one_Bn, 0.5, two_Bn)
    assert found.cross_entropy.item() == pytest.approx(entropy, abs=1e-12)
    assert found.divergence.item() == pytest.approx(divergence, abs=1e-12)
    assert found.loss.item() == pytest.approx(entropy + divergence, abs=1e-12)
    assert found.first.item() == pytest.approx(((one_Bn.argmax(1) == 0).double().mean()).item())
    with pytest.raises(ValueError, match="temperature"):
        listwise_loss(one_Bn, 0.0)
