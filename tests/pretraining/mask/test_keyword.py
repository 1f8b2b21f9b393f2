"""KeywordMask: words, weights, masks and frequencies of the original; the exact distribution of sequential sampling."""

import math
from itertools import combinations, permutations

import pytest
import torch
from support.masks import agree, agree_counts, copies, load, noise, select, texts, wrapped

from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.pretraining.mask.keyword import KeywordMask
from bmae_lightning.pretraining.mask.words import budget, first_pieces, group_words
from bmae_lightning.runtime.errors import BadInput

DRAWS = 4000
JUNK = 1e6


def weighted(tokens, words, log_weights, shift=1):
    """tokens with the words' log weights at their first pieces and junk everywhere else."""
    value_BL = torch.full(tokens.ids_BL.shape, JUNK, dtype=torch.float64)
    for word, log_weight in zip(words, log_weights, strict=True):
        value_BL[:, word[0] + shift] = log_weight
    return Tokens(tokens.ids_BL, tokens.real_BL, {"keyword_weight": value_BL})


def test_words_and_their_weights_are_those_of_the_original():
    recorded = load("keyword_weights")
    for case in recorded["sentences"]:
        tokens, vocabulary = copies(wrapped(case["tokens"]))
        tokens = weighted(tokens, case["words"], case["weights"])
        words = group_words(tokens, vocabulary, vocabulary.special_V)
        count = len(case["words"])
        found = [(words.word_BL[0] == w).nonzero().flatten().sub(1).tolist() for w in range(count)]
        assert found == case["words"]
        assert first_pieces(words, tokens.values["keyword_weight"])[0, :count].tolist() == case["weights"]
        for word, weight in zip(case["words"], case["weights"], strict=True):
            key = "".join(case["tokens"][place] for place in word)
            assert weight == 1 / recorded["frequency"].get(key, 1)


def test_masks_in_given_order_are_those_of_the_original():
    for case in load("keyword_given_order"):
        tokens, vocabulary = copies(wrapped(case["tokens"]))
        listed = {place for word in case["arrival_order"] for place in word}
        never = [[place] for place in range(len(case["tokens"])) if place not in listed]  # never arrived in time
        order = case["arrival_order"] + never
        tokens = weighted(tokens, order, [-1000.0 * place for place in range(len(order))])
        mask_BL = select(KeywordMask(case["rate"]), tokens, vocabulary, noise(1), "x")
        assert mask_BL[0].int().tolist() == [0, *case["mask"], 0], case


def test_frequencies_are_those_of_the_original():
    recorded = load("keyword_frequencies")
    weights = load("keyword_weights")["sentences"]
    for sentence, case in zip(recorded["sentences"], weights, strict=True):
        tokens, vocabulary = copies(wrapped(sentence["tokens"]), DRAWS)
        tokens = weighted(tokens, case["words"], [math.log(weight) for weight in case["weights"]])
        for rate, expected in sentence["by_rate"].items():
            mask_BL = select(KeywordMask(float(rate)), tokens, vocabulary, noise(DRAWS), "x")[:, 1:-1]
            agree(mask_BL.sum(0), DRAWS, expected["hits"], recorded["draws"])
            agree_counts(mask_BL, expected["count_histogram"], recorded["draws"])


def sets_of_three(weights, count):
    """Share of draws in which each three of six one-piece words were selected."""
    tokens, vocabulary = copies(wrapped(list("abcdef")), count)
    tokens = weighted(tokens, [[place] for place in range(6)], [math.log(weight) for weight in weights])
    mask_BL = select(KeywordMask(0.5), tokens, vocabulary, noise(count), "x")[:, 1:-1]
    code_B = (mask_BL.long() << torch.arange(6)).sum(1)
    share = torch.bincount(code_B, minlength=64) / count
    return {chosen: share[sum(1 << place for place in chosen)].item() for chosen in combinations(range(6), 3)}


def sequential(weights):
    """Exact shares when words are drawn one by one with probability proportional to weight, without replacement."""
    shares = dict.fromkeys(combinations(range(6), 3), 0.0)
    for order in permutations(range(6), 3):
        left, probability = sum(weights), 1.0
        for place in order:
            probability *= weights[place] / left
            left -= weights[place]
        shares[tuple(sorted(order))] += probability
    return shares


@pytest.mark.parametrize("weights", [(1, 1, 1, 1, 1, 1), (1, 1 / 2, 1 / 3, 1 / 7, 1 / 20, 1 / 100)])
def test_words_are_drawn_one_by_one_by_weight(weights):
    ours, exact = sets_of_three(weights, 200_000), sequential(weights)
    assert sum(exact.values()) == pytest.approx(1)
    assert sum(ours.values()) == pytest.approx(1)
    assert sum(abs(ours[chosen] - exact[chosen]) for chosen in exact) / 2 < 0.01
    inclusion = [sum(share for chosen, share in ours.items() if place in chosen) for place in range(6)]
    if len(set(weights)) == 1:
        assert inclusion == pytest.approx([0.5] * 6, abs=0.01)
    else:
        assert inclusion == sorted(inclusion, reverse=True)


@pytest.mark.parametrize("rate", [0.15, 0.5, 0.9])
def test_covers_the_budget_by_whole_words(rate):
    tokens, vocabulary = texts()
    value_BL = torch.randn(tokens.ids_BL.shape, generator=torch.Generator().manual_seed(1)) * 3
    tokens = Tokens(tokens.ids_BL, tokens.real_BL, {"x": value_BL})
    words = group_words(tokens, vocabulary, vocabulary.special_V)
    mask_BRL = select(KeywordMask(rate, "x"), tokens, vocabulary, noise(4), "x", rows=50)
    content_BL = tokens.real_BL & ~vocabulary.special_V[tokens.ids_BL]
    room_B = budget(content_BL.sum(1), rate)
    over_BR = mask_BRL.sum(-1) - room_B[:, None]
    assert (over_BR >= 0).all()
    assert (over_BR < words.size_BW.amax(1)[:, None]).all()
    assert (over_BR > 0).any()
    assert not (mask_BRL & ~content_BL[:, None]).any()
    for b in range(4):
        for w in range(int(words.word_BL[b].max()) + 1):
            pieces = mask_BRL[b][:, words.word_BL[b] == w]
            assert (pieces.all(1) == pieces.any(1)).all()


def test_same_mask_whatever_the_batch_and_extreme_weights():
    tokens, vocabulary = texts((20, 9, 14))
    value_BL = torch.randn(tokens.ids_BL.shape) * 5000
    full = Tokens(tokens.ids_BL, tokens.real_BL, {"keyword_weight": value_BL})
    mask_BL = select(KeywordMask(0.5), full, vocabulary, noise(3), "x")
    cut = Tokens(full.ids_BL[:2, :22], full.real_BL[:2, :22], {"keyword_weight": value_BL[:2, :22]})
    assert torch.equal(select(KeywordMask(0.5), cut, vocabulary, noise(2), "x"), mask_BL[:2])
    assert mask_BL.any(1).all()


def test_texts_without_content_select_nothing():
    tokens, vocabulary = copies(["[CLS]", "[UNK]", "[SEP]"], 2)
    tokens = Tokens(tokens.ids_BL, tokens.real_BL, {"keyword_weight": torch.zeros(2, 3)})
    assert not select(KeywordMask(0.5), tokens, vocabulary, noise(2), "x").any()


def test_texts_without_values():
    tokens, vocabulary = texts()
    with pytest.raises(BadInput, match="no 'tf_idf' values with its text; they come from the statistics stage"):
        select(KeywordMask(0.5, "tf_idf"), tokens, vocabulary, noise(4), "x")


@pytest.mark.parametrize("rate", [0, 1, -0.1, 1.5, float("nan")])
def test_rate_outside_the_unit_interval(rate):
    with pytest.raises(ValueError, match=r"mask rate must lie in \(0, 1\), got"):
        KeywordMask(rate)
