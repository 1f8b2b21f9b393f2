"""Chinese and mixed texts in the pieces of WordPiece, byte-level BPE and Unigram: words, statistics and every mask."""

import numpy as np
import pytest
import torch
from support.kinds import KINDS, TEXTS, kind_of_tokenizer
from support.masks import noise

from bmae_lightning.corpus.statistics.token_values import StatisticsOptions
from bmae_lightning.corpus.statistics.words import UnitReader
from bmae_lightning.corpus.statistics.write import write_statistics
from bmae_lightning.corpus.tokens.store import write_token_store
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.mask.importance import ImportanceMask
from bmae_lightning.pretraining.mask.keyword import KeywordMask
from bmae_lightning.pretraining.mask.policy import MaskRequest
from bmae_lightning.pretraining.mask.superset import SupersetMask
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.mask.words import group_words

POLICIES = {
    "uniform": UniformMask(0.3),
    "prefix": UniformMask(0.5, fill="overshoot", specials="skip"),
    "superset": SupersetMask(0.5, 0.3),
    "importance": ImportanceMask(0.3, unit="word"),
    "keyword": KeywordMask(0.3),
}


@pytest.fixture(params=KINDS)
def texts(request, tmp_path):
    """The tokenizer's vocabulary, a store of the texts, and both with their statistics as padded tokens."""
    tokenizer = kind_of_tokenizer(request.param)
    vocabulary = Vocabulary(tokenizer)
    store = write_token_store(tmp_path / "store", TEXTS, list(map(str, range(len(TEXTS)))), tokenizer)
    numbers = write_statistics(tmp_path / "statistics", store, vocabulary.rules(), StatisticsOptions(min_count=1))
    rows = range(len(store))
    values = {
        name: [numbers[name][store.offsets[row] : store.offsets[row + 1]] for row in rows] for name in numbers.names
    }
    return vocabulary, store, vocabulary.pad([store[row] for row in rows], 512, values)


@pytest.mark.parametrize("policy", POLICIES)
def test_every_mask_finds_words(texts, policy):
    vocabulary, _, tokens = texts
    reference_BL = torch.zeros_like(tokens.real_BL)
    request = MaskRequest(tokens, vocabulary, noise(len(TEXTS)), "x", reference_BL=reference_BL)
    mask_BL = POLICIES[policy].select(request)[:, 0]
    assert (mask_BL.sum(1) > 0).all()
    assert not (mask_BL & vocabulary.skip_V[tokens.ids_BL]).any()
    words = group_words(tokens, vocabulary).word_BL
    for row, word_L in enumerate(words):
        for word in range(int(word_L.max()) + 1):
            content_L = (word_L == word) & ~vocabulary.special_V[tokens.ids_BL[row]]
            assert len(set(mask_BL[row][content_L].tolist())) < 2, "a word is masked whole or not at all"


def test_words_of_statistics_are_those_of_masks(texts):
    vocabulary, store, tokens = texts
    units = UnitReader(store, vocabulary.rules(), "word").read(0, len(store))
    word_BL = group_words(tokens, vocabulary, vocabulary.special_V).word_BL
    assert np.diff(units.start_R).tolist() == (word_BL.max(1).values + 1).tolist()
    assert np.isfinite(tokens.values["keyword_weight"].numpy()).all()
