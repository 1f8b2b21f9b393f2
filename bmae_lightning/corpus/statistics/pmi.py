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
    from bmae_lightning.corpus.statistics import loops

    count_NU = np.stack(count_NU)
    log_NU = np.log(np.maximum(count_NU, 1)) - np.log(np.maximum(total_N, 1))[:, None]
    sum_U2, terms_U2 = np.zeros((2, len(count_NU[0]))), np.zeros((2, len(count_NU[0])))
    add = {"joint": loops.add_joint, "split": loops.add_split, "minseg": loops.add_minseg}[pmi_mode]
    add(count_NU, log_NU, sum_U2, terms_U2)
    if boundary == "zero_fill":
        return sum_U2.sum(0) / (len(count_NU) - 1)
    mean_U2 = sum_U2 / np.maximum(terms_U2, 1)
    return np.where(terms_U2 > 0, mean_U2, mean_U2[::-1]).sum(0)
