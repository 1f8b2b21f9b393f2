"""Weights of words against their definitions; all are above 0."""

import math

import numpy as np
import pytest

from bmae_lightning.corpus.statistics.keyword_weight import log_keyword_weight


def test_inverse_frequency_and_a_word_never_counted():
    weight_U = log_keyword_weight("inv_cf", np.array([1, 4, 0]), None, None, 9)
    assert weight_U.tolist() == pytest.approx([0, -math.log(4), 0])


def test_idf_is_that_of_bm25_and_above_zero_even_for_a_word_of_every_passage():
    weight_U = np.exp(log_keyword_weight("idf", None, np.array([1, 5, 10, 0]), None, 10))
    assert weight_U.tolist() == pytest.approx(
        [math.log(1 + 9.5 / 1.5), math.log(2), math.log(1 + 0.5 / 10.5), math.log(1 + 9.5 / 1.5)]
    )
    assert (weight_U > 0).all()


def test_tfidf_counts_the_word_in_its_passage():
    idf_U = log_keyword_weight("idf", None, np.array([3, 3]), None, 10)
    weight_U = log_keyword_weight("tfidf", None, np.array([3, 3]), np.array([1, 4]), 10)
    assert (weight_U - idf_U).tolist() == pytest.approx([0, math.log(4)])


def test_one_passage():
    assert np.isfinite(log_keyword_weight("idf", None, np.array([1]), None, 1)).all()
