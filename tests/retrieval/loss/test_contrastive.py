"""Contrastive loss: by hand, against recorded numbers (tests/golden/README.md §6), its forms and invariances."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file
from support.contrast import contrastive_logits, contrastive_loss
from support.paths import GOLDEN
from torch.nn import functional as F

from bmae_lightning.retrieval.loss.contrastive import FORMS, scale_gradient
from bmae_lightning.retrieval.loss.loss import (
    check_temperature,
    known_positives,
    targets,
    temperature_at,
)
from bmae_lightning.retrieval.representation.vectors import dot

BIENCODER = GOLDEN / "retriever" / "retromae_biencoder"
CASES = ["plain", "teacher_default", "teacher_cosine", "mean_pooling"]


def batch(queries=4, group=3, width=6, seed=0):
    generator = torch.Generator().manual_seed(seed)
    draw = {"generator": generator, "dtype": torch.float64}
    return torch.randn(queries, width, **draw), torch.randn(queries * group, width, **draw)


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_recorded_numbers(case, dtype):
    recorded = load_file(BIENCODER / "expected.safetensors")
    expected = json.loads((BIENCODER / "expected.json").read_text())[case]
    queries_BD, passages_ND = recorded[f"{case}.q_reps.{dtype}"], recorded[f"{case}.p_reps.{dtype}"]
    temperature = expected["settings"]["temperature"]
    tolerance = {"rtol": 0, "atol": 1e-10} if dtype == "float64" else {"rtol": 1e-5, "atol": 2e-5}
    logits_BN = dot(queries_BD, passages_ND) / temperature
    torch.testing.assert_close(logits_BN, recorded[f"{case}.logits.{dtype}"], **tolerance)
    assert torch.equal(targets(4, 3), recorded[f"{case}.target"])
    loss, first, group_bn = contrastive_loss(queries_BD, passages_ND, 3, temperature)
    assert torch.equal(group_bn, torch.stack([logits_BN[i, 3 * i : 3 * i + 3] for i in range(4)]))
    assert loss.dtype == getattr(torch, dtype)
    close = {"rel": 0, "abs": 1e-10} if dtype == "float64" else {"rel": 1e-5, "abs": 0}
    assert loss.item() == pytest.approx(expected[dtype]["loss"]["contrastive"], **close)
    wins = logits_BN.argmax(1) == recorded[f"{case}.target"]
    assert first.item() == pytest.approx(wins.double().mean().item())


def test_two_queries_and_two_passages_by_hand():
    queries_BD = torch.tensor([[1.0, 0.0], [0.0, 2.0]], dtype=torch.float64)
    passages_ND = torch.tensor([[1.0, 1.0], [3.0, 0.0], [0.0, 1.0], [1.0, 0.0]], dtype=torch.float64)
    # scores / 2: query 0: [.5, 1.5, 0, .5], positive at 0; query 1: [1, 0, 1, 0], positive at 2
    first = math.log(2 * math.exp(0.5) + math.exp(1.5) + 1) - 0.5
    second = math.log(2 * math.e + 2) - 1
    loss, top, _ = contrastive_loss(queries_BD, passages_ND, 2, 2.0)
    assert loss.item() == pytest.approx((first + second) / 2, abs=1e-12)
    assert targets(3, 4).tolist() == [0, 4, 8]
    assert targets(2, 4, offset=2).tolist() == [8, 12]
    assert top.item() in (0.0, 0.5)  # query 0 loses; query 1 is a tie


def test_all_equal_passages_cost_log_n():
    assert contrastive_loss(torch.ones(2, 3), torch.ones(8, 3), 4, 1.0).loss.item() == pytest.approx(math.log(8))


def rows_by_loop(queries_BD, passages_ND, group, form):
    """Every row of the soft-max entry by entry, the target first (docs/finetuning.md §1.4)."""
    positives = [passages_ND[i * group] for i in range(len(queries_BD))]
    rows = []
    for i, query in enumerate(queries_BD):
        row = [query @ positives[i]] + [query @ p for j, p in enumerate(passages_ND) if j != i * group]
        others = [j for j in range(len(queries_BD)) if j != i]
        if form == "simlm_code":
            row += [positives[i] @ queries_BD[j] for j in others] + [query @ queries_BD[j] for j in others]
            row += [positives[i] @ positives[j] for j in others]
        if form == "eq3_literal":
            row += [positives[i] @ p for j, p in enumerate(passages_ND) if j != i * group]
        rows.append(torch.stack(row))
    return torch.stack(rows)


@pytest.mark.parametrize("form", FORMS)
def test_forms_equal_a_loop(form):
    queries_BD, passages_ND = batch()
    expected = -(rows_by_loop(queries_BD, passages_ND, 3, form) / 0.3).log_softmax(1)[:, 0].mean()
    assert contrastive_loss(queries_BD, passages_ND, 3, 0.3, form=form).loss.item() == pytest.approx(expected.item())


def test_simlms_rows_have_four_blocks():
    queries_BD, passages_ND = batch()
    logits_BC, absent_BC = contrastive_logits(queries_BD, passages_ND, 3, 0.5, form="simlm_code")
    assert logits_BC.shape == (4, 12 + 3 * 4)
    assert ((~absent_BC).sum(1) == 12 + 3 * 3).all()
    assert (absent_BC.sum(1) == 3).all()
    for block in range(3):
        assert torch.equal(absent_BC[:, 12 + 4 * block : 16 + 4 * block], torch.eye(4).bool())
    plain_BC, absent_BN = contrastive_logits(queries_BD, passages_ND, 3, 0.5)
    assert torch.equal(logits_BC[:, :12], plain_BC)
    assert not absent_BN.any()
    absent_BC[:, 12:] = True
    reduced = F.cross_entropy(logits_BC.masked_fill(absent_BC, -torch.inf), targets(4, 3))
    assert reduced.item() == pytest.approx(contrastive_loss(queries_BD, passages_ND, 3, 0.5).loss.item(), abs=1e-12)
    literal_BC, absent_BC = contrastive_logits(queries_BD, passages_ND, 3, 0.5, form="eq3_literal")
    assert ((~absent_BC).sum(1) == 2 * 12 - 1).all()


@pytest.mark.parametrize("form", FORMS)
def test_permuting_the_batch_or_the_negatives_changes_nothing(form):
    queries_BD, passages_ND = batch()

    def loss(queries_BD, groups):
        return contrastive_loss(queries_BD, groups.flatten(0, 1), 3, 0.5, form=form).loss.item()

    groups = passages_ND.view(4, 3, -1)
    whole, order = loss(queries_BD, groups), torch.tensor([2, 0, 3, 1])
    assert loss(queries_BD[order], groups[order]) == pytest.approx(whole, abs=1e-12)
    assert loss(queries_BD, groups[:, [0, 2, 1]]) == pytest.approx(whole, abs=1e-12)
    assert abs(loss(queries_BD, groups[:, [1, 0, 2]]) - whole) > 1e-3


@pytest.mark.parametrize("form", FORMS)
def test_scaling_vectors_leaves_cosine_and_half_the_temperature_doubles_scores(form):
    queries_BD, passages_ND = batch()

    def cosine(factor):
        queries, passages = F.normalize(queries_BD * factor, dim=1), F.normalize(passages_ND * factor, dim=1)
        return contrastive_loss(queries, passages, 3, 0.02, form=form)

    assert cosine(1.0).loss.item() == pytest.approx(cosine(37.0).loss.item(), abs=1e-10)
    logits_BC, _ = contrastive_logits(queries_BD, passages_ND, 3, 0.1, form=form)
    torch.testing.assert_close(contrastive_logits(queries_BD, passages_ND, 3, 0.05, form=form)[0], 2 * logits_BC)
    other_BC, _ = contrastive_logits(queries_BD, passages_ND, 3, 7.0, form=form)
    assert torch.equal(other_BC.argsort(1), logits_BC.argsort(1))


def test_the_temperature_falls_from_one_while_it_warms_up():
    factors = [1 / temperature_at(0.02, step, 1000) for step in range(0, 2001, 10)]
    assert factors[0] == 1
    assert factors[:3] == [1, 1, 1]  # 20 of 1,000 steps are needed to reach a factor above 1
    assert factors[50] == pytest.approx(25)
    assert all(factor == pytest.approx(50) for factor in factors[100:])
    assert all(factor >= 1 for factor in factors)
    assert factors == sorted(factors)
    assert temperature_at(2.0, 0, 0) == 2.0
    with pytest.raises(ValueError, match="temperature_warmup"):
        check_temperature(2.0, 10)


@pytest.mark.parametrize("form", FORMS)
def test_slices_with_offset_average_to_the_whole(form):
    queries_BD, passages_ND = batch()
    whole = contrastive_loss(queries_BD, passages_ND, 3, 1.0, form=form)
    halves = [
        contrastive_loss(queries_BD[i : i + 2], passages_ND, 3, 1.0, i, form=form, all_queries=queries_BD)
        for i in (0, 2)
    ]
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


def test_mistakes_of_the_extended_forms():
    queries_BD, passages_ND = batch()
    with pytest.raises(ValueError, match="all_queries: 2 queries"):
        contrastive_loss(queries_BD[:2], passages_ND, 3, form="simlm_code")
    with pytest.raises(ValueError, match="form must be one of plain, simlm_code, eq3_literal"):
        contrastive_loss(queries_BD, passages_ND, 3, form="full")


def test_hard_negatives_can_be_left_out_of_the_contrast_but_not_of_the_group():
    queries_BD, passages_ND = batch()
    masked = contrastive_loss(queries_BD, passages_ND, 3, mask_hard_negatives=True)
    rows_BN = dot(queries_BD, passages_ND)
    for i in range(4):
        rows_BN[i, 3 * i + 1 : 3 * i + 3] = -torch.inf
    assert masked.loss.item() == pytest.approx(F.cross_entropy(rows_BN, targets(4, 3)).item(), abs=1e-12)
    assert torch.equal(masked.group_bn, contrastive_loss(queries_BD, passages_ND, 3).group_bn)


@pytest.mark.parametrize("form", FORMS)
def test_known_positives_are_no_negatives(form):
    queries_BD, passages_ND = batch(queries=3, group=2)
    passage_N = torch.tensor([7, 1, 8, 7, 9, 2])  # 7, the positive of query 0, is a hard negative of query 1
    positives_BP = torch.tensor([[7, 9], [8, -1], [9, -1]])  # and 9, that of query 2, is one of query 0 as well
    known_BN = known_positives(passage_N, positives_BP)
    assert known_BN.tolist() == [[1, 0, 0, 1, 1, 0], [0, 0, 1, 0, 0, 0], [0, 0, 0, 0, 1, 0]]
    _, absent_BC = contrastive_logits(queries_BD, passages_ND, 2, form=form, known_bN=known_BN)
    assert absent_BC[:, :6].tolist() == [[0, 0, 0, 1, 1, 0], [0] * 6, [0] * 6]  # the targets themselves stay
    if form == "simlm_code":  # the query, or positive, of query 2 goes with it
        assert all(block.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 1]] for block in absent_BC[:, 6:].split(3, 1))
    if form == "eq3_literal":
        assert absent_BC[0, 6:].tolist() == [1, 0, 0, 1, 1, 0]
    loss = contrastive_loss(queries_BD, passages_ND, 2, form=form, known_bN=known_BN).loss
    assert loss < contrastive_loss(queries_BD, passages_ND, 2, form=form).loss


def test_the_gradient_can_be_scaled_without_the_value():
    vector = torch.tensor([1.0, 2.0], requires_grad=True)
    loss = scale_gradient(vector.square().sum(), 0.25)
    loss.backward()
    assert loss.item() == 5
    assert vector.grad.tolist() == [0.5, 1.0]
