"""UniformMask: recorded frequencies of the original, whole words, budget, determinism."""

import pytest
import torch
from support.masks import agree, agree_counts, copies, load, noise, select, texts, wrapped

from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.mask.words import budget, group_words
from bmae_lightning.pretraining.noise import Noise

DRAWS = 4000


@pytest.mark.parametrize("rate", [0.15, 0.3, 0.5, 0.9])
def test_frequencies_are_those_of_the_original(rate):
    recorded = load("wwm_frequencies")
    for sentence in recorded["sentences"]:
        tokens, vocabulary = copies(sentence["tokens"], DRAWS)
        mask_BL = select(UniformMask(rate), tokens, vocabulary, noise(DRAWS), "x")
        expected = sentence["by_rate"][str(rate)]
        agree(mask_BL.sum(0), DRAWS, expected["hits"], recorded["draws"])
        agree_counts(mask_BL, expected["count_histogram"], recorded["draws"])


@pytest.mark.parametrize("fill", ["exact", "prefix"])
@pytest.mark.parametrize("rate", [0.15, 0.5, 0.95])
def test_whole_words_within_the_budget(rate, fill):
    tokens, vocabulary = texts(unknown=False)
    mask_BRL = select(UniformMask(rate, fill), tokens, vocabulary, noise(4), "x", rows=50)
    words = group_words(tokens, vocabulary)
    assert not mask_BRL[:, :, 0].any()
    assert not (mask_BRL & (words.word_BL < 0)[:, None]).any()
    for b in range(4):
        for w in words.word_BL[b].unique():
            pieces = mask_BRL[b][:, words.word_BL[b] == w]
            assert (pieces.all(1) == pieces.any(1)).all()
    room_B = budget(tokens.real_BL.sum(1), rate)
    assert (mask_BRL.sum(-1) <= room_B[:, None]).all()
    assert mask_BRL.any()


def test_same_mask_whatever_the_batch():
    tokens, vocabulary = texts((20, 9, 14), unknown=False)
    source = Noise(5, torch.tensor([2, 2, 3]), torch.tensor([70, 71, 72]))
    policy = UniformMask(0.5)
    mask_BRL = select(policy, tokens, vocabulary, source, "x", rows=4)
    alone = Tokens(tokens.ids_BL[1:2, :11], tokens.real_BL[1:2, :11])
    again = select(policy, alone, vocabulary, Noise(5, torch.tensor([2]), torch.tensor([71])), "x", rows=4)
    assert torch.equal(mask_BRL[1:2, :, :11], again)
    assert not mask_BRL[1, :, 11:].any()
    for other in (Noise(5, torch.tensor([3]), torch.tensor([71])), Noise(6, torch.tensor([2]), torch.tensor([71]))):
        assert not torch.equal(select(policy, alone, vocabulary, other, "x", rows=4), again)


def test_rows_are_independent_draws():
    tokens, vocabulary = copies(["[CLS]", *"abcdefghij", "[SEP]"], DRAWS)
    mask_BRL = select(UniformMask(0.5), tokens, vocabulary, noise(DRAWS), "x", rows=2)
    first, second = mask_BRL[:, 0, 3].double(), mask_BRL[:, 1, 3].double()
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 4.5 / DRAWS**0.5
    assert torch.equal(select(UniformMask(0.5), tokens, vocabulary, noise(DRAWS), "x"), mask_BRL[:, 0])


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1.5, float("nan")])
def test_rate_outside_the_unit_interval(rate):
    with pytest.raises(ValueError, match=r"mask rate must lie in \(0, 1\), got"):
        UniformMask(rate)


def test_unknown_fill():
    with pytest.raises(ValueError, match="fill must be one of"):
        UniformMask(0.3, "greedy")


def test_frequencies_without_specials_are_those_of_the_original():
    recorded = load("master_wwm_frequencies")
    for sentence in recorded["sentences"]:
        tokens, vocabulary = copies(wrapped(sentence["tokens"]), DRAWS)
        for rate, expected in sentence["by_rate"].items():
            mask_BL = select(UniformMask(float(rate), specials="skip"), tokens, vocabulary, noise(DRAWS), "x")
            assert not mask_BL[:, vocabulary.special_V[tokens.ids_BL[0]]].any()
            agree(mask_BL.sum(0)[1:-1], DRAWS, expected["hits"], recorded["draws"])
            agree_counts(mask_BL[:, 1:-1], expected["count_histogram"], recorded["draws"])


def test_pieces_are_taken_one_by_one():
    """Of a word of three pieces, one or two are selected, each equally often."""
    tokens, vocabulary = copies(wrapped(["a", "##b", "##c"]), DRAWS)
    mask_BL = select(UniformMask(0.4, unit="piece"), tokens, vocabulary, noise(DRAWS), "x")
    assert (mask_BL.sum(1) == 2).all()
    assert (mask_BL[:, 1:4].double().mean(0) - 2 / 3).abs().max() < 4.5 * (2 / 9 / DRAWS) ** 0.5
    assert not select(UniformMask(0.4), tokens, vocabulary, noise(DRAWS), "x").any()
    with pytest.raises(ValueError, match="unit must be one of word, piece, got 'token'"):
        UniformMask(0.3, unit="token")


def test_unknown_specials():
    with pytest.raises(ValueError, match="specials must be one of count, skip, got 'drop'"):
        UniformMask(0.3, specials="drop")
