"""Importance of words as CDMAE measures it: average mutual information with the n-grams that end and start there.

Eq. 7 (PMI of a pair), in three readings for longer n-grams, and Eq. 8 (AMI); all in float64.
Shapes: N orders 1 .. window of n-grams, U units (words or pieces) of whole passages.
"""

from collections.abc import Sequence

import numpy as np

PMI_MODES = ("joint", "split", "minseg")
BOUNDARIES = ("available", "zero_fill")


def average_mutual_information(
    count_NU: Sequence[np.ndarray], total_N: Sequence[int], pmi_mode: str, boundary: str
) -> np.ndarray:
    """AMI of every unit, float64 [U]: the mean PMI of the n-grams that end there plus that of those that start there.

    count_NU: in the corpus, of the n-gram that starts at each unit; 0 where it would leave the passage or is left out.
        A unit itself that was never counted is taken as seen once.
    total_N: all occurrences of n-grams of each order in the corpus.
    pmi_mode: of n-grams of three and more. 'joint': ln p(g) - sum of ln p of its units. 'split': ln p(g) - ln p(unit)
        - ln p(g without the unit). 'minseg': the smallest ln p(g) - sum of ln p(segments) over all ways to cut g.
    boundary: 'available' averages over the n-grams that exist, a side without any takes the mean of the other, and a
        unit alone has 0; 'zero_fill' always divides by window - 1.
    """
    size, window = len(count_NU[0]), len(count_NU)
    log_NU = [_log_probability(np.maximum(count_NU[0], 1), total_N[0])]
    log_NU += [_log_probability(count_U, total) for count_U, total in zip(count_NU[1:], total_N[1:], strict=True)]
    sum_U2, terms_U2 = np.zeros((2, size)), np.zeros((2, size))
    best_NU = [log_NU[0]]  # minseg only: the most probable way to cut an n-gram, or to leave it whole
    for order in range(2, window + 1):
        starts = max(size - order + 1, 0)
        whole = log_NU[order - 1][:starts]
        exists = count_NU[order - 1][:starts] > 0
        if pmi_mode == "split":
            ending = whole - log_NU[0][order - 1 :] - log_NU[order - 2][:starts]
            starting = whole - log_NU[0][:starts] - log_NU[order - 2][1 : starts + 1]
        elif pmi_mode == "joint":
            starting = ending = whole - sum(log_NU[0][place : place + starts] for place in range(order))
        else:
            cut = np.full(starts, -np.inf)
            for length in range(1, order):
                np.maximum(cut, log_NU[length - 1][:starts] + best_NU[order - length - 1][length:][:starts], out=cut)
            starting = ending = whole - cut
            best_NU.append(np.maximum(whole, cut))
        for side, (value, where) in enumerate(((ending, slice(order - 1, None)), (starting, slice(starts)))):
            sum_U2[side][where][exists] += value[exists]
            terms_U2[side][where] += exists
    if boundary == "zero_fill":
        return sum_U2.sum(0) / (window - 1)
    mean_U2 = sum_U2 / np.maximum(terms_U2, 1)
    return np.where(terms_U2 > 0, mean_U2, mean_U2[::-1]).sum(0)


def _log_probability(count_U: np.ndarray, total: int) -> np.ndarray:
    """ln(count / total); any finite number where the count is 0, which no existing n-gram refers to."""
    return np.log(np.maximum(count_U, 1)) - np.log(max(total, 1))
