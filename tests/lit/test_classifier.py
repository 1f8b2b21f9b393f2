"""Labelled texts in batches, the step of the classifier, and predictions in the order of the texts."""

import numpy as np
import pytest
import torch
from support.paths import GOLDEN
from torch import nn

from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.lit.classifier import ClassifierModule, LabelledTexts, predict
from bmae_lightning.lit.optimisation import AdamW, LinearSchedule, Optimisation

VOCABULARY = Vocabulary.from_tokens((GOLDEN / "vocab_tiny.txt").read_text().splitlines())
FIRST = [np.array(row) for row in ([110, 111, 112], [113], [114, 115, 116, 117, 118, 119], [120, 121])]
SECOND = [np.array(row) for row in ([130], [131, 132], [133], [134, 135, 136])]
LABELS = np.array([0, 1, 1, 0], dtype=np.float32)


class Sum(nn.Module):
    """Scores a text by its real ids, or one class against another by whether the sum is even."""

    def __init__(self, outputs=1):
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))
        self.outputs = outputs
        self.sizes = []

    def forward(self, pairs):
        self.sizes.append(tuple(pairs.ids_PL.shape))
        sum_P = (pairs.ids_PL * pairs.real_PL).sum(1).float() * self.factor
        return sum_P[:, None] if self.outputs == 1 else torch.stack([sum_P % 2, 1 - sum_P % 2], 1)

    def predict(self, pairs):
        return self(pairs)[:, 0]


def module(outputs=1):
    return ClassifierModule(Sum(outputs), Optimisation(AdamW([0.9, 0.999]), LinearSchedule(), 1e-3, 0.0, 0.0, 4))


def ids(pairs):
    return [row[real].tolist() for row, real in zip(pairs.ids_PL, pairs.real_PL, strict=True)]


def test_single_texts_are_cut_at_their_end():
    batch = LabelledTexts(FIRST, None, LABELS, VOCABULARY, 6)([(2, 0), (1, 3)])
    assert ids(batch.pairs) == [[101, 114, 115, 116, 117, 102], [101, 113, 102]]
    assert batch.pairs.types_PL.sum() == 0
    assert batch.label_P.tolist() == [1, 1]


def test_of_a_pair_the_longer_text_is_cut():
    batch = LabelledTexts(FIRST, SECOND, LABELS, VOCABULARY, 8)([(0, 0), (2, 0)])
    assert ids(batch.pairs) == [[101, 110, 111, 112, 102, 130, 102], [101, 114, 115, 116, 117, 102, 133, 102]]
    assert batch.pairs.types_PL[1].tolist() == [0, 0, 0, 0, 0, 0, 1, 1]


def test_the_loss_is_the_mean_over_texts_and_counts_them():
    texts = LabelledTexts(FIRST, None, np.array([400, 300, 900, 500], dtype=np.float32), VOCABULARY, 9)
    graded = module()
    loss = graded.training_step(texts([(row, 0) for row in range(4)]), 0)
    sums = np.array([row.sum() + 101 + 102 for row in FIRST])
    assert loss.item() == pytest.approx(((sums - texts.labels) ** 2).mean())
    mean, weight = graded.parts["loss/labels"]
    assert (mean.item(), weight.item()) == (pytest.approx(loss.item()), 4)
    assert graded.total({"loss/labels": 3.0}) == 3.0
    classes = module(outputs=2).training_step(LabelledTexts(FIRST, None, LABELS, VOCABULARY, 9)([(0, 0)]), 0)
    score_C = torch.tensor([sums[0] % 2, 1 - sums[0] % 2], dtype=torch.float32)
    assert classes.item() == pytest.approx(-torch.log_softmax(score_C, 0)[0].item())


@pytest.mark.parametrize("second", [None, SECOND])
def test_predictions_stand_in_the_order_of_the_texts_and_like_lengths_go_together(second):
    texts = LabelledTexts(FIRST, second, LABELS, VOCABULARY, 20)
    model = Sum()
    found = predict(model, texts, 2, "cpu")
    wanted = [row.sum() + 203 + (0 if second is None else second[i].sum() + 102) for i, row in enumerate(FIRST)]
    assert found.tolist() == wanted
    assert not model.training
    if second is None:
        assert model.sizes == [(2, 4), (2, 8)], "texts of one and two word pieces, then of three and six"
