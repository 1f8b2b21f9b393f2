"""How telling a word is: the weights with which MASTER's masked keyword prediction draws words, as logarithms."""

import numpy as np

WEIGHTS = ("inv_cf", "idf", "tfidf")


def log_keyword_weight(
    kind: str, frequency_U: np.ndarray | None, passages_U: np.ndarray | None, times_U: np.ndarray | None, passages: int
) -> np.ndarray:
    """ln of the weight of every word, float64 [U]; weights are above 0.

    kind: 'inv_cf' is 1 / frequency (as released), 'idf' is that of BM25, ln(1 + (D - d + 0.5) / (d + 0.5)) for a word
        in d of D passages, 'tfidf' is times * idf.  A word that was never counted is taken as seen once.
    frequency_U: occurrences in the corpus.  passages_U: passages that hold the word.  times_U: occurrences in its own
        passage. Only what the kind needs is read.  passages: of the corpus.
    """
    if kind == "inv_cf":
        return -np.log(np.maximum(frequency_U, 1))
    holding_U = np.clip(passages_U, 1, max(passages, 1))
    weight_U = np.log1p((passages - holding_U + 0.5) / (holding_U + 0.5))
    return np.log(weight_U if kind == "idf" else weight_U * times_U)
