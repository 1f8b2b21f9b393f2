"""UniformMask: recorded frequencies of the original, whole words, budget, determinism."""

import json

import pytest
import torch
from support.paths import GOLDEN

from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.encoder.vocabulary import SPECIAL_TOKENS, Vocabulary
from bmae_lightning.pretraining.mask.policy import budget, group_words
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.noise import Noise

DRAWS = 4000


def copies(tokens, count):
    """count passages of one text, with a vocabulary of its tokens."""
    names = list(dict.fromkeys(list(SPECIAL_TOKENS.values()) + tokens))
    ids = torch.tensor([[names.index(token) for token in tokens]]).expand(count, -1)
    return Tokens(ids, torch.ones_like(ids).bool()), Vocabulary.from_tokens(names)


def noise(count, seed=0):
    return Noise(seed, torch.zeros(count).long(), torch.arange(count))


def texts(lengths=(30, 7, 1, 18), seed=0):
    """Random texts over the golden vocabulary as `[CLS] x [SEP]`."""
    vocabulary = Vocabulary.from_tokens((GOLDEN / "vocab_tiny.txt").read_text().splitlines())
    generator = torch.Generator().manual_seed(seed)
    ids_BL = torch.zeros(len(lengths), max(lengths) + 2).long()
    for row, size in enumerate(lengths):
        ids_BL[row, : size + 2] = torch.randint(104, 200, (size + 2,), generator=generator)
        ids_BL[row, 0], ids_BL[row, size + 1] = 101, 102
    return Tokens(ids_BL, ids_BL != 0), vocabulary


@pytest.mark.parametrize("rate", [0.15, 0.3, 0.5, 0.9])
def test_frequencies_are_those_of_the_original(rate):
    recorded = json.loads((GOLDEN / "masking" / "wwm_frequencies.json").read_text())
    for sentence in recorded["sentences"]:
        tokens, vocabulary = copies(sentence["tokens"], DRAWS)
        mask_BL = UniformMask(rate).select(tokens, vocabulary, noise(DRAWS), "x")
        expected = sentence["by_rate"][str(rate)]
        agree(mask_BL.sum(0), torch.tensor(expected["hits"]), recorded["draws"])
        counts = torch.bincount(mask_BL.sum(1), minlength=len(sentence["tokens"]) + 1)
        histogram = torch.zeros_like(counts)
        for size, times in expected["count_histogram"].items():
            histogram[int(size)] = times
        agree(counts, histogram, recorded["draws"])


def agree(ours, theirs, draws):
    """Two-sample z below 4.5 everywhere."""
    f1, f2 = theirs / draws, ours / DRAWS
    pooled = (theirs + ours) / (draws + DRAWS)
    bound = 4.5 * (pooled * (1 - pooled) * (1 / draws + 1 / DRAWS)) ** 0.5
    assert ((f1 - f2).abs() <= bound + 1e-12).all()


@pytest.mark.parametrize("fill", ["exact", "prefix"])
@pytest.mark.parametrize("rate", [0.15, 0.5, 0.95])
def test_whole_words_within_the_budget(rate, fill):
    tokens, vocabulary = texts()
    mask_BRL = UniformMask(rate, fill).select(tokens, vocabulary, noise(4), "x", rows=50)
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
    tokens, vocabulary = texts((20, 9, 14))
    source = Noise(5, torch.tensor([2, 2, 3]), torch.tensor([70, 71, 72]))
    policy = UniformMask(0.5)
    mask_BRL = policy.select(tokens, vocabulary, source, "x", rows=4)
    alone = Tokens(tokens.ids_BL[1:2, :11], tokens.real_BL[1:2, :11])
    again = policy.select(alone, vocabulary, Noise(5, torch.tensor([2]), torch.tensor([71])), "x", rows=4)
    assert torch.equal(mask_BRL[1:2, :, :11], again)
    assert not mask_BRL[1, :, 11:].any()
    for other in (Noise(5, torch.tensor([3]), torch.tensor([71])), Noise(6, torch.tensor([2]), torch.tensor([71]))):
        assert not torch.equal(policy.select(alone, vocabulary, other, "x", rows=4), again)


def test_rows_are_independent_draws():
    tokens, vocabulary = copies(["[CLS]", *"abcdefghij", "[SEP]"], DRAWS)
    mask_BRL = UniformMask(0.5).select(tokens, vocabulary, noise(DRAWS), "x", rows=2)
    first, second = mask_BRL[:, 0, 3].double(), mask_BRL[:, 1, 3].double()
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 4.5 / DRAWS**0.5
    assert torch.equal(UniformMask(0.5).select(tokens, vocabulary, noise(DRAWS), "x"), mask_BRL[:, 0])


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1.5, float("nan")])
def test_rate_outside_the_unit_interval(rate):
    with pytest.raises(ValueError, match=r"mask rate must lie in \(0, 1\), got"):
        UniformMask(rate)


def test_unknown_fill():
    with pytest.raises(ValueError, match="fill must be one of"):
        UniformMask(0.3, "greedy")


def test_frequencies_without_specials_are_those_of_the_original(draws):
    recorded = draws.load("master_wwm_frequencies")
    for sentence in recorded["sentences"]:
        tokens, vocabulary = copies(draws.wrapped(sentence["tokens"]), DRAWS)
        for rate, expected in sentence["by_rate"].items():
            mask_BL = UniformMask(float(rate), specials="skip").select(tokens, vocabulary, noise(DRAWS), "x")
            assert not mask_BL[:, vocabulary.special_V[tokens.ids_BL[0]]].any()
            draws.agree(mask_BL.sum(0)[1:-1], DRAWS, expected["hits"], recorded["draws"])
            draws.agree_counts(mask_BL[:, 1:-1], expected["count_histogram"], recorded["draws"])


def test_unknown_specials():
    with pytest.raises(ValueError, match="specials must be one of count, skip, got 'drop'"):
        UniformMask(0.3, specials="drop")
