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
    """(TP·TN - FP·FN) / sqrt((TP + FP)(TP + FN)(TN + FP)(TN + FN))."""
    tp, fp, fn, tn = _confusion(predicted_N, label_N)
    return _ratio(tp * tn - fp * fn, ((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn)) ** 0.5)


def accuracy(predicted_N: np.ndarray, label_N: np.ndarray) -> float:
    """Share of right classes."""
    tp, _, _, tn = _confusion(predicted_N, label_N)
    return _ratio(tp + tn, len(label_N))


def f1(predicted_N: np.ndarray, label_N: np.ndarray) -> float:
    """2 TP / (2 TP + FP + FN) of class 1."""
    tp, fp, fn, _ = _confusion(predicted_N, label_N)
    return _ratio(2 * tp, 2 * tp + fp + fn)


def pearson(predicted_N: np.ndarray, label_N: np.ndarray) -> float:
    """Linear correlation."""
    from scipy.stats import pearsonr

    return _correlation(pearsonr, predicted_N, label_N)


def spearman(predicted_N: np.ndarray, label_N: np.ndarray) -> float:
    """Linear correlation of ranks, equal values sharing their mean rank."""
    from scipy.stats import spearmanr

    return _correlation(spearmanr, predicted_N, label_N)


MEASURES = {"Matthews": matthews, "accuracy": accuracy, "F1": f1, "Pearson": pearson, "Spearman": spearman}


def _confusion(predicted_N: np.ndarray, label_N: np.ndarray) -> tuple[int, int, int, int]:
    """True and false positives, false and true negatives."""
    yes_N, right_N = predicted_N > 0.5, label_N > 0.5
    pairs = ((yes_N, right_N), (yes_N, ~right_N), (~yes_N, right_N), (~yes_N, ~right_N))
    tp, fp, fn, tn = (int((a & b).sum()) for a, b in pairs)
    return tp, fp, fn, tn


def _ratio(top: float, bottom: float) -> float:
    return top / bottom if bottom else 0.0


def _correlation(of, predicted_N: np.ndarray, label_N: np.ndarray) -> float:
    predicted_N, label_N = predicted_N.astype(np.float64), label_N.astype(np.float64)
    if np.ptp(predicted_N) == 0 or np.ptp(label_N) == 0:
        return 0.0
    return float(of(predicted_N, label_N).statistic)
