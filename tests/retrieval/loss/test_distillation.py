"""Distillation against loops and by its invariances."""

import math
from types import SimpleNamespace

import pytest
import torch
from support.contrast import contrastive_loss

from bmae_lightning.retrieval.loss.distillation import KINDS, Distillation, distillation_loss

B, n = 3, 4


def drawn():
    torch.manual_seed(0)
    student_Bn = torch.randn(B, n, dtype=torch.float64, requires_grad=True)
    return student_Bn, 2 * torch.randn(B, n, dtype=torch.float64)


def by_loop(student_Bn, teacher_Bn, kind):
    """Terms of every query, one list each."""
    terms = []
    for student, teacher in zip(student_Bn.tolist(), teacher_Bn.tolist(), strict=True):
        s_sum, t_sum = sum(map(math.exp, student)), sum(map(math.exp, teacher))
        p_s, p_t = [math.exp(x) / s_sum for x in student], [math.exp(x) / t_sum for x in teacher]
        if kind == "kl":
            terms.append([t * (math.log(t) - math.log(s)) for s, t in zip(p_s, p_t, strict=True)])
        elif kind == "soft_cross_entropy":
            terms.append([-t * math.log(s) for s, t in zip(p_s, p_t, strict=True)])
        else:
            terms.append([(student[0] - student[j] - teacher[0] + teacher[j]) ** 2 for j in range(1, n)])
    return terms


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_equal_a_loop(kind):
    student_Bn, teacher_Bn = drawn()
    terms = by_loop(student_Bn, teacher_Bn, kind)
    queries = distillation_loss(student_Bn, teacher_Bn, kind)
    assert queries.item() == pytest.approx(sum(map(sum, terms)) / B, abs=1e-12)
    elements = distillation_loss(student_Bn, teacher_Bn, kind, "elements")
    assert elements.item() == pytest.approx(sum(map(sum, terms)) / sum(map(len, terms)), abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_a_constant_added_to_the_teacher_of_one_query_changes_nothing(kind):
    student_Bn, teacher_Bn = drawn()
    shifted_Bn = teacher_Bn + torch.tensor([[7.0], [0.0], [-3.0]])
    loss = distillation_loss(student_Bn, teacher_Bn, kind).item()
    assert distillation_loss(student_Bn, shifted_Bn, kind).item() == pytest.approx(loss, abs=1e-10)
    shifted_Bn[0, 0] += 1
    assert abs(distillation_loss(student_Bn, shifted_Bn, kind).item() - loss) > 1e-3


def test_an_equal_teacher_teaches_nothing_and_the_gradient_is_the_difference():
    student_Bn, teacher_Bn = drawn()
    for kind in KINDS:
        loss = distillation_loss(student_Bn, student_Bn.detach() + 5, kind)
        entropy = torch.distributions.Categorical(logits=student_Bn.detach()).entropy().mean() if kind[0] == "s" else 0
        assert loss.item() == pytest.approx(float(entropy), abs=1e-12)
        (gradient_Bn,) = torch.autograd.grad(loss, student_Bn)
        assert gradient_Bn.abs().max() < 1e-12
    expected_Bn = student_Bn.detach().softmax(1) - teacher_Bn.softmax(1)
    for kind in ("kl", "soft_cross_entropy"):
        for reduction, factor in (("queries", B), ("elements", B * n)):
            loss = distillation_loss(student_Bn, teacher_Bn, kind, reduction)
            (gradient_Bn,) = torch.autograd.grad(loss, student_Bn)
            torch.testing.assert_close(gradient_Bn, expected_Bn / factor, rtol=0, atol=1e-12)


def test_the_direction_is_from_the_teacher():
    student_Bn, _ = drawn()
    one_hot_Bn = torch.full((B, n), -1e9, dtype=torch.float64)
    one_hot_Bn[:, 2] = 1e9
    loss = distillation_loss(student_Bn, one_hot_Bn)
    assert loss.item() == pytest.approx(-student_Bn.log_softmax(1)[:, 2].mean().item(), abs=1e-12)
    sure_Bn = torch.zeros(B, n, dtype=torch.float64)
    sure_Bn[:, 2] = 40.0
    spread_Bn = torch.zeros_like(sure_Bn)
    assert distillation_loss(sure_Bn, spread_Bn) > 20  # the student calls impossible what the teacher calls likely
    assert distillation_loss(spread_Bn, sure_Bn) < 2  # KL(student || teacher) would have it the other way round


def test_the_mean_over_elements_is_an_nth_of_the_mean_over_queries():
    student_Bn, teacher_Bn = drawn()
    for kind, terms in (("kl", n), ("soft_cross_entropy", n), ("margin_mse", n - 1)):
        queries = distillation_loss(student_Bn, teacher_Bn, kind).item()
        elements = distillation_loss(student_Bn, teacher_Bn, kind, "elements").item()
        assert elements * terms == pytest.approx(queries, abs=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_only_the_contrast_reaches_passages_of_other_queries(kind):
    torch.manual_seed(0)
    queries_BD = torch.randn(B, 5, dtype=torch.float64)
    passages_ND = torch.randn(B * n, 5, dtype=torch.float64, requires_grad=True)
    contrast = contrastive_loss(queries_BD[:1], passages_ND, n)  # the rows of query 0 alone
    teacher_1n = torch.randn(1, n, dtype=torch.float64)
    (to_passages,) = torch.autograd.grad(
        distillation_loss(contrast.group_bn, teacher_1n, kind), passages_ND, retain_graph=True
    )
    assert to_passages[:n].abs().sum() > 0
    assert to_passages[n:].abs().sum() == 0
    (to_passages,) = torch.autograd.grad(contrast.loss, passages_ND)
    assert (to_passages[n:].abs().sum(1) > 0).all()


def test_options_and_mistakes():
    student_Bn, teacher_Bn = drawn()
    expected = distillation_loss(student_Bn, teacher_Bn, "margin_mse", "elements")
    given = SimpleNamespace(scores_bn=student_Bn, teacher_bn=teacher_Bn)
    found = Distillation(0.3, "margin_mse", "elements")(None, None, given)
    assert (found.loss, found.parts) == (expected, {})
    half = distillation_loss(student_Bn.to(torch.bfloat16), teacher_Bn.float())
    assert half.dtype == torch.float32
    for options, word in (({"kind": "mse"}, "kind"), ({"reduction": "sum"}, "reduction"), ({"weight": -1.0}, "weight")):
        with pytest.raises(ValueError, match=word):
            Distillation(**options)
    with pytest.raises(ValueError, match="teacher scores have shape"):
        distillation_loss(student_Bn, teacher_Bn[:, :2])
    with pytest.raises(ValueError, match="at least 2 passages"):
        distillation_loss(student_Bn[:, :1], teacher_Bn[:, :1], "margin_mse")
