"""The list of function words, and what of a vocabulary it flags."""

import re

from bmae_lightning.encoder.function_words import FUNCTION_WORDS, function_flags
from bmae_lightning.encoder.vocabulary import Vocabulary


def test_words_of_closed_classes_punctuation_and_nothing_else():
    tokens = [
        "the",
        "The",
        "of",
        "they",
        "must",
        ",",
        ".",
        "(",
        "…",
        "[PAD]",
        "theory",
        "7",
        "retrieval",
        "",
    ]
    flagged = [token for token, flag in zip(tokens, function_flags(tokens).tolist(), strict=True) if flag]
    assert flagged == ["the", "The", "of", "they", "must", ",", ".", "(", "…"]


def test_the_list_is_lower_case_words_of_a_reasonable_number():
    assert 200 < len(FUNCTION_WORDS) < 350
    assert all(re.fullmatch("[a-z]+", word) for word in FUNCTION_WORDS)
    assert not FUNCTION_WORDS & {"time", "people", "make", "good", "new", "year", "said"}  # frequent, but open classes


def test_a_vocabulary_carries_the_flags_and_does_not_save_them():
    vocabulary = Vocabulary.from_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "the", "cat", "."])
    assert vocabulary.function_V.tolist() == [False] * 5 + [True, False, True]
    assert not vocabulary.state_dict()
