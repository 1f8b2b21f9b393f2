"""Contrastive loss: by hand, against recorded numbers (tests/golden/README.md §6), and its invariances (f08-f11)."""

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch.nn import functional as F

from bmae_lightning.loss.contrastive import contrastive_loss, scores, targets

GOLDEN = Path(__file__).parents[1] / "golden" / "retriever" / "retromae_biencoder"
CASES = ["plain", "teacher_default", "teacher_cosine", "mean_pooling"]


def batch(queries=4, group=3, width=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator, "dtype": torch.float64}
    return torch.randn(queries, width, **draw), torch.randn(queries * group, width, **draw)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_recorded_numbers(case, dtype):
    recorded = load_file(GOLDEN / "expected.safetensors")
    expected = json.loads((GOLDEN / "expected.json").read_text())[case]
    queries_BD, passages_ND = recorded[f"{case}.q_reps.{dtype}"], recorded[f"{case}.p_reps.{dtype}"]
    temperature = expected["settings"]["temperature"]
    tolerance = {"rtol": 0, "atol": 1e-10} if dtype == "float64" else {"rtol": 1e-5, "atol": 2e-5}
    logits_BN = scores(queries_BD, passages_ND, temperature)
    torch.testing.assert_close(logits_BN, recorded[f"{case}.logits.{dtype}"], **tolerance)
    assert torch.equal(targets(4, 3), recorded[f"{case}.target"])
    loss, first = contrastive_loss(queries_BD, passages_ND, 3, temperature)
    assert loss.dtype == getattr(torch, dtype)
    close = {"rel": 0, "abs": 1e-10} if dtype == "float64" else {"rel": 1e-5, "abs": 0}
    assert loss.item() == pytest.approx(expected[dtype]["loss"]["contrastive"], **close)
    wins = logits_BN.argmax(1) == recorded[f"{case}.target"]
    assert first.item() == pytest.approx(wins.double().mean().item())


def test_f08_two_by_two_by_hand():
    queries_BD = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    passages_ND = torch.tensor([[1.0, 1.0], [3.0, 0.0], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    # scores / 2: query 0: [.5, 1.5, 0, .5], positive at 0; query 1: [1, 0, 1, 0], positive at 2
    first = math.log(2 * math.exp(0.5) + math.exp(1.5) + 1) - 0.5
    second = math.log(2 * math.e + 2) - 1
    loss, top = contrastive_loss(queries_BD, passages_ND, 2, 2.0)
    assert loss.item() == pytest.approx((first + second) / 2, abs=1e-12)
    assert targets(3, 4).tolist() == [0, 4, 8]
    assert targets(2, 4, offset=2).tolist() == [8, 12]
    assert top.item() in (0.0, 0.5)  # query 0 loses; query 1 is a tie


def test_all_equal_passages_cost_log_n():
    loss, _ = contrastive_loss(torch.ones(2, 3), torch.ones(8, 3), 4, 1.0)
    assert loss.item() == pytest.approx(math.log(8))


def test_f10_permuting_the_batch_or_the_negatives_changes_nothing():
    queries_BD, passages_ND = batch()
    loss, _ = contrastive_loss(queries_BD, passages_ND, 3, 0.5)
    order = torch.tensor([2, 0, 3, 1])
    groups = passages_ND.view(4, 3, -1)
    permuted, _ = contrastive_loss(queries_BD[order], groups[order].flatten(0, 1), 3, 0.5)
    swapped, _ = contrastive_loss(queries_BD, groups[:, [0, 2, 1]].flatten(0, 1), 3, 0.5)
    assert permuted.item() == pytest.approx(loss.item(), abs=1e-12)
    assert swapped.item() == pytest.approx(loss.item(), abs=1e-12)
    wrong, _ = contrastive_loss(queries_BD, groups[:, [1, 0, 2]].flatten(0, 1), 3, 0.5)
    assert abs(wrong.item() - loss.item()) > 1e-3


def test_f11_scale_and_temperature():
    queries_BD, passages_ND = batch()

    def cosine(factor):
        return contrastive_loss(
            F.normalize(queries_BD * factor, dim=1), F.normalize(passages_ND * factor, dim=1), 3, 0.02
        )

    assert cosine(1.0).loss.item() == pytest.approx(cosine(37.0).loss.item(), abs=1e-10)
    logits_BN = scores(queries_BD, passages_ND, 0.1)
    torch.testing.assert_close(scores(queries_BD, passages_ND, 0.05), 2 * logits_BN)
    assert torch.equal(scores(queries_BD, passages_ND, 7.0).argsort(1), logits_BN.argsort(1))


def test_slices_with_offset_average_to_the_whole():
    queries_BD, passages_ND = batch()
    whole = contrastive_loss(queries_BD, passages_ND, 3, 1.0)
    halves = [contrastive_loss(queries_BD[i : i + 2], passages_ND, 3, 1.0, offset=i) for i in (0, 2)]
    assert sum(half.loss.item() for half in halves) / 2 == pytest.approx(whole.loss.item(), abs=1e-12)
    assert sum(half.first.item() for half in halves) / 2 == pytest.approx(whole.first.item())


def test_half_precision_is_scored_in_float32():
    queries_BD, passages_ND = (F.normalize(part.float(), dim=1) for part in batch(width=64))
    expected = contrastive_loss(queries_BD, passages_ND, 3, 0.02).loss
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(contrastive_loss(queries_BD, passages_ND, 3, 0.02).loss, expected)
    rounded = contrastive_loss(queries_BD.bfloat16(), passages_ND.bfloat16(), 3, 0.02).loss
    assert rounded.dtype == torch.float32


def test_gradient_and_mistakes():
    queries_BD, passages_ND = batch(queries=2, group=2, width=3)
    queries_BD.requires_grad_()
    passages_ND.requires_grad_()
    assert torch.autograd.gradcheck(lambda q, p: contrastive_loss(q, p, 2, 0.7).loss, (queries_BD, passages_ND))
    for group, temperature, offset in ((3, 1.0, 0), (2, 0.0, 0), (2, 1.0, 1), (0, 1.0, 0)):
        with pytest.raises(ValueError, match="temperature" if temperature == 0 else "group"):
            contrastive_loss(queries_BD, passages_ND, group, temperature, offset)
