"""GLUE's measures against scikit-learn, slow references and by hand."""

import numpy as np
import pytest

from bmae_lightning.evaluation.glue.data import TASKS
from bmae_lightning.evaluation.glue.measures import accuracy, f1, glue_scores, matthews, mean_score, pearson, spearman

DRAW = np.random.default_rng(3)


@pytest.mark.parametrize("size", [1, 2, 5, 40])
def test_classes_equal_scikit_learn(size):
    known = pytest.importorskip("sklearn.metrics")
    for _ in range(20):
        predicted, label = (DRAW.random(size) < DRAW.random() for _ in range(2))
        predicted, label = predicted.astype(np.float32), label.astype(np.float32)
        assert accuracy(predicted, label) == pytest.approx(known.accuracy_score(label, predicted))
        assert f1(predicted, label) == pytest.approx(known.f1_score(label, predicted, zero_division=0))
        wanted = np.corrcoef(predicted, label)[0, 1] if 0 < label.mean() < 1 and 0 < predicted.mean() < 1 else 0.0
        assert matthews(predicted, label) == pytest.approx(wanted, abs=1e-6)


def ranks(values):
    """Mean ranks, slowly."""
    return [np.mean([i for i, other in enumerate(sorted(values)) if other == value]) for value in values]


def test_grades_equal_slow_references():
    for _ in range(40):
        predicted, label = DRAW.normal(size=12).round(1), DRAW.integers(0, 6, 12).astype(np.float32)
        assert pearson(predicted, label) == pytest.approx(np.corrcoef(predicted, label)[0, 1], abs=1e-6)
        assert spearman(predicted, label) == pytest.approx(np.corrcoef(ranks(predicted), ranks(label))[0, 1], abs=1e-6)


def test_what_is_not_defined_is_0():
    alike, label = np.ones(4), np.array([0.0, 1.0, 1.0, 0.0])
    assert matthews(alike, label) == pearson(alike, label) == spearman(alike, label) == 0.0
    assert matthews(label, alike) == spearman(label, alike) == 0.0
    assert f1(np.zeros(4), np.zeros(4)) == 0.0


def test_negative_and_tied_predictions_count():
    assert spearman(np.array([-3.0, -2.0, -1.0]), np.array([0.0, 1.0, 2.0])) == pytest.approx(1.0)
    assert matthews(np.array([0.0, 1.0]), np.array([1.0, 0.0])) == -1.0


def test_a_task_is_measured_by_its_own_measures():
    label = np.array([1.0, 0.0, 1.0, 1.0])
    predicted = np.array([1.0, 1.0, 1.0, 0.0])
    assert glue_scores(TASKS["MRPC"], predicted, label) == {"accuracy": 0.5, "F1": pytest.approx(4 / 6)}
    assert list(glue_scores(TASKS["STS-B"], predicted, label)) == ["Pearson", "Spearman"]
    assert list(glue_scores(TASKS["CoLA"], predicted, label)) == ["Matthews"]
    assert mean_score([{"Matthews": 0.5}, {"accuracy": 0.7, "F1": 0.9}]) == pytest.approx(0.65)
