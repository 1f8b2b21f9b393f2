"""The measures of GLUE: Matthews' correlation, accuracy, F1 of two classes; Pearson's and Spearman's of grades.

Where a measure is not defined (all predictions alike, for example) it is 0. Shapes: N examples.
"""

from collections.abc import Sequence

import numpy as np

from bmae_lightning.evaluation.glue.data import Task


def glue_scores(task: Task, predicted_N: np.ndarray, label_N: np.ndarray) -> dict[str, float]:
    """Measure -> value for the measures of `task`; predictions and labels are classes 0 and 1, or grades."""
    return {name: MEASURES[name](predicted_N, label_N) for name in task.measures}


def mean_score(scores: Sequence[dict[str, float]]) -> float:
    """GLUE's average: the mean over tasks of the mean of each one's measures."""
    return float(np.mean([np.mean(list(score.values())) for score in scores]))


def matthews(predicted_N: np.ndarray, label_N: np.ndarray) -> float:
    """Matthews' correlation, which is Pearson's of two classes."""
    return pearson(predicted_N > 0.5, label_N > 0.5)


def accuracy(predicted_N: np.ndarray, label_N: np.ndarray) -> float:
    """Share of right classes."""
    return float(np.mean((predicted_N > 0.5) == (label_N > 0.5)))


def f1(predicted_N: np.ndarray, label_N: np.ndarray) -> float:
    """2 TP / (2 TP + FP + FN) of class 1."""
    yes_N, right_N = predicted_N > 0.5, label_N > 0.5
    found = int(yes_N.sum() + right_N.sum())
    return 2 * int((yes_N & right_N).sum()) / found if found else 0.0


def pearson(predicted_N: np.ndarray, label_N: np.ndarray) -> float:
    """Linear correlation."""
    from scipy.stats import pearsonr

    return _correlation(pearsonr, predicted_N, label_N)


def spearman(predicted_N: np.ndarray, label_N: np.ndarray) -> float:
    """Linear correlation of ranks, equal values sharing their mean rank."""
    from scipy.stats import spearmanr

    return _correlation(spearmanr, predicted_N, label_N)


MEASURES = {"Matthews": matthews, "accuracy": accuracy, "F1": f1, "Pearson": pearson, "Spearman": spearman}


def _correlation(of, predicted_N: np.ndarray, label_N: np.ndarray) -> float:
    predicted_N, label_N = predicted_N.astype(np.float64), label_N.astype(np.float64)
    if np.ptp(predicted_N) == 0 or np.ptp(label_N) == 0:
        return 0.0
    return float(of(predicted_N, label_N).statistic)
