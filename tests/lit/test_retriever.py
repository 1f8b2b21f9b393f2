"""The training step of a retriever without a trainer: what it optimises, and what a batch says about positives."""

import numpy as np
import pytest
import torch
from support.encoders import small_encoder
from support.stores import write_store
from torch.nn import functional as F

from bmae_lightning.encoder.batch import RetrievalBatch
from bmae_lightning.lit.optimisation import AdamW, LinearSchedule, Optimisation
from bmae_lightning.lit.retriever import RetrieverBatches, RetrieverModule
from bmae_lightning.retrieval.dual_encoder import DualEncoder
from bmae_lightning.retrieval.grad_cache import GradCache
from bmae_lightning.retrieval.loss.contrastive import Contrastive
from bmae_lightning.retrieval.loss.distillation import Distillation
from bmae_lightning.retrieval.negatives.source import Groups, RandomNegatives
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.runtime.errors import BadInput

QUERIES, GROUP = 3, 2


@pytest.fixture
def model():
    return DualEncoder(small_encoder(dropout=0.0), PooledRepresentation("cls"), "cos")


def module(model, distillation=None, temperature_warmup=0.0, grad_cache=None, **options):
    """One that trains with the contrastive loss, and the options of that, and distillation where it is given."""
    losses = {"contrastive": Contrastive(**options)} | ({"distillation": distillation} if distillation else {})
    optimisation = Optimisation(AdamW([0.9, 0.999]), LinearSchedule(), 1e-3, 0.0, 0.1, 10)
    return RetrieverModule(model, losses, GROUP, 0.5, optimisation, temperature_warmup, grad_cache)


def batch(model, **rest):
    draw = np.random.default_rng(0)
    pad = model.encoder.vocabulary.pad
    rows = [draw.integers(5, 45, 4) for _ in range(QUERIES * (1 + GROUP))]
    return RetrievalBatch(pad(rows[:QUERIES], 8), pad(rows[QUERIES:], 8), **rest)


def scores(model, given):
    queries_BD, passages_ND = (model(t, passages=False).dense_BD for t in (given.queries, given.passages))
    return queries_BD @ passages_ND.T


@pytest.mark.parametrize("chunk", [None, 2])
def test_the_step_is_contrast_plus_distillation(model, chunk):
    given = batch(model, teacher_Bn=torch.tensor([[2.0, 0.0], [1.0, 3.0], [0.0, 0.0]]))
    logits_BN = scores(model, given) / 0.5
    contrast = F.cross_entropy(logits_BN, torch.tensor([0, 2, 4]))
    group_Bn = torch.stack([logits_BN[i, 2 * i : 2 * i + 2] for i in range(QUERIES)])
    distilled = F.kl_div(group_Bn.log_softmax(1), given.teacher_Bn.softmax(1), reduction="batchmean")
    step = module(model, grad_cache=GradCache(chunk))
    torch.testing.assert_close(step.training_step(given, 0), contrast)
    assert step.total({name: mean.item() for name, (mean, _) in step.parts.items()}) == pytest.approx(contrast.item())
    step = module(model, grad_cache=GradCache(chunk), distillation=Distillation(), weight=0.3)
    torch.testing.assert_close(step.training_step(given, 0), distilled + 0.3 * contrast)
    assert set(step.parts) == {"loss/contrastive", "loss/distillation", "in_batch_RR@1"}
    means = {name: mean.item() for name, (mean, _) in step.parts.items()}
    assert step.total(means) == pytest.approx((distilled + 0.3 * contrast).item(), abs=1e-6)
    with pytest.raises(BadInput, match="teacher"):
        step.training_step(batch(model), 0)


def test_options_reach_the_loss(model):
    given = batch(model)
    plain = module(model).training_step(given, 0)
    assert module(model, form="simlm_code").training_step(given, 0) > plain
    warm = module(model, temperature_warmup=5).training_step(given, 0)  # temperature 1 at step 0
    torch.testing.assert_close(warm, F.cross_entropy(scores(model, given), torch.tensor([0, 2, 4])))
    share = module(model, temperature_warmup=0.5)
    assert share.temperature_warmup == 5
    module(model, grad_scale=0.25).training_step(given, 0).backward()
    scaled = model.encoder.masked_lm.bert.embeddings.LayerNorm.weight.grad.clone()
    model.zero_grad()
    plain.backward()
    torch.testing.assert_close(4 * scaled, model.encoder.masked_lm.bert.embeddings.LayerNorm.weight.grad)
    with pytest.raises(ValueError, match="form"):
        module(model, form="full")


def test_known_positives_are_masked(model):
    positives_BP = torch.tensor([[4, 9], [6, -1], [8, -1]])
    given = batch(model, passage_N=torch.tensor([4, 5, 6, 9, 8, 4]), positives_BP=positives_BP)
    rows_BN = scores(model, given) / 0.5
    rows_BN[0, [3, 5]] = -torch.inf
    expected = F.cross_entropy(rows_BN, torch.tensor([0, 2, 4]))
    torch.testing.assert_close(module(model, mask_known_positives=True).training_step(given, 0), expected)
    unmasked = module(model)
    assert unmasked.training_step(given, 0) > expected
    assert unmasked.parts["known_positives"][0].item() == pytest.approx(2 / 3)  # passages 9 and 4, for the first query


def test_batches_say_which_passages_they_hold(model, tmp_path):
    queries, passages = (
        write_store(tmp_path / name, [[5 + row] for row in range(rows)], name) for name, rows in (("q", 3), ("p", 9))
    )
    qrels = {"q0": {"p1": 1, "p7": 2}, "q1": {"p2": 1, "p3": 0}, "q2": {"p4": 1}}
    groups = Groups(qrels, queries, passages, RandomNegatives(), None, GROUP, seed=0)
    vocabulary = model.encoder.vocabulary
    items = [(0, 0), (2, 0), (1, 3)]
    made = RetrieverBatches(groups, queries, passages, vocabulary, 8, 8)(items)
    assert made.passage_N.tolist() == [row for number, epoch in items for row in groups.draw(number, epoch)]
    assert made.positives_BP.tolist() == [[1, 7], [4, -1], [2, -1]]
    assert made.passages.ids_BL[:, 1].tolist() == [5 + row for row in made.passage_N.tolist()]
    assert made.to("cpu").teacher_Bn is None
