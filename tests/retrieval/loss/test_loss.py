"""What losses are given: scores, columns, labels; what they return; and what a stage does with their weights."""

import pytest
import torch
from support.contrast import contrastive_loss
from torch.nn import functional as F

from bmae_lightning.encoder.batch import RetrievalBatch
from bmae_lightning.retrieval.loss.contrastive import Contrastive
from bmae_lightning.retrieval.loss.distillation import Distillation, distillation_loss
from bmae_lightning.retrieval.loss.loss import LossParts, RetrieverLoss, ScoredBatch
from bmae_lightning.retrieval.representation import vectors as module
from bmae_lightning.retrieval.representation.vectors import Vectors
from bmae_lightning.runtime.errors import BadInput

QUERIES, GROUP, T = 4, 3, 0.5


def given(offset=0, count=QUERIES, **labels):
    """A batch of which this process has `count` queries from `offset` on."""
    torch.manual_seed(0)
    queries_BD = torch.randn(QUERIES, 6, dtype=torch.float64)
    passages_ND = torch.randn(QUERIES * GROUP, 6, dtype=torch.float64, requires_grad=True)
    queries, passages = Vectors(queries_BD[offset : offset + count]), Vectors(passages_ND)
    return queries, passages, ScoredBatch(queries, passages, RetrievalBatch(None, None, **labels), GROUP, T, offset)


@pytest.mark.parametrize(("offset", "count"), [(0, QUERIES), (2, 2)])
def test_scores_and_columns(offset, count):
    queries, passages, batch = given(offset, count)
    for i in range(count):
        for column in range(QUERIES * GROUP):
            expected = (queries.dense_BD[i] @ passages.dense_BD[column]).item() / T
            assert batch.scores_bN[i, column].item() == pytest.approx(expected)
        own = [(offset + i) * GROUP + j for j in range(GROUP)]
        assert batch.target_b[i].item() == own[0]
        assert torch.equal(batch.scores_bn[i], batch.scores_bN[i, own])
    torch.testing.assert_close(batch.score(passages[:2], queries), batch.scores_bN[:, :2].T)


def test_all_losses_share_one_matrix_of_scores(monkeypatch):
    queries, passages, batch = given(teacher_Bn=torch.randn(QUERIES, GROUP))
    calls = []
    scored = module.dot
    monkeypatch.setattr(module, "dot", lambda *sides: calls.append(1) or scored(*sides))
    for loss in (Contrastive(), Distillation(), Contrastive(form="plain", mask_hard_negatives=True)):
        loss(queries, passages, batch)
    assert len(calls) == 1


@pytest.mark.parametrize("form", ["plain", "simlm_code", "eq3_literal"])
def test_labels_and_the_scale_of_the_gradient_reach_the_contrast(form):
    positives_BP = torch.tensor([[0, 5], [3, -1], [6, -1], [9, -1]])
    queries, passages, batch = given(passage_N=torch.arange(12), positives_BP=positives_BP)
    known_bN = torch.zeros(QUERIES, 12, dtype=torch.bool)
    for query, known in enumerate([[0, 5], [3], [6], [9]]):
        known_bN[query, known] = True
    loss = Contrastive(0.2, form, mask_known_positives=True, mask_hard_negatives=True, grad_scale=0.25)
    expected = contrastive_loss(queries, passages, GROUP, T, form=form, known_bN=known_bN, mask_hard_negatives=True)
    found = loss(queries, passages, batch)
    torch.testing.assert_close(found.loss, expected.loss)
    assert found.parts["in_batch_RR@1"] == expected.first
    whole, quarter = (torch.autograd.grad(value, passages.dense_BD)[0] for value in (expected.loss, found.loss))
    torch.testing.assert_close(4 * quarter, whole)


def test_distillation_reads_the_own_passages():
    teacher_Bn = torch.randn(QUERIES, GROUP)
    queries, passages, batch = given(teacher_Bn=teacher_Bn)
    found = Distillation(kind="margin_mse")(queries, passages, batch)
    assert found == LossParts(distillation_loss(batch.scores_bn, teacher_Bn, "margin_mse"))
    with pytest.raises(BadInput, match="distillation needs a teacher's scores of every training passage"):
        Distillation()(*given())


def test_a_loss_of_ones_own_needs_one_method():
    class Hinge(RetrieverLoss):
        def __init__(self, weight=1.0, margin=0.1):
            super().__init__(weight)
            self.margin = margin

        def __call__(self, queries, passages, batch):
            gaps = self.margin - batch.scores_bn[:, :1] + batch.scores_bn[:, 1:]
            return LossParts(F.relu(gaps).mean(), {"violations": (gaps > 0).double().mean()})

    queries, passages, batch = given()
    found = Hinge(0.5)(queries, passages, batch)
    gaps = [0.1 - batch.scores_bn[i, 0].item() + batch.scores_bn[i, j].item() for i in range(QUERIES) for j in (1, 2)]
    assert found.loss.item() == pytest.approx(sum(max(0, gap) for gap in gaps) / 8)
    assert found.parts["violations"].item() == sum(gap > 0 for gap in gaps) / 8
    assert (Hinge.needs_teacher, Hinge.needs_positives) == (False, False)
    with pytest.raises(ValueError, match="weight is a factor of the loss, so it is at least 0, got -1"):
        Hinge(-1.0)
    with pytest.raises(TypeError, match="abstract"):
        RetrieverLoss()
