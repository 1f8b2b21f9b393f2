"""ImportanceMask: budget, top of the score, noise of any size, whole words and pieces, ties, and independence."""

import math

import pytest
import torch
from support.masks import copies, noise, select, texts, wrapped

from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.pretraining.mask.importance import ImportanceMask, deviation, rank
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.mask.words import group_words
from bmae_lightning.runtime.errors import BadInput

DRAWS = 4000
LENGTHS = (30, 7, 1, 18, 2, 55)


def scored(tokens, vocabulary, seed=0, name="importance"):
    """tokens with a random importance per word, junk at special positions."""
    generator = torch.Generator().manual_seed(seed)
    word_BL = group_words(tokens, vocabulary, vocabulary.special_V).word_BL
    value_BW = torch.randn(word_BL.shape, generator=generator) * 4
    value_BL = value_BW.gather(1, word_BL.clamp(min=0)).masked_fill(word_BL < 0, 1e6)
    return Tokens(tokens.ids_BL, tokens.real_BL, {name: value_BL})


def content(tokens, vocabulary):
    return tokens.real_BL & ~vocabulary.special_V[tokens.ids_BL]


def flat(importance, count):
    """count passages of one-piece words with these importances, in float64."""
    tokens, vocabulary = copies(wrapped([f"w{i}" for i in range(len(importance))]), count)
    value_BL = torch.tensor([[0.0, *importance, 0.0]], dtype=torch.float64).expand(count, -1)
    return Tokens(tokens.ids_BL, tokens.real_BL, {"importance": value_BL}), vocabulary


@pytest.mark.parametrize("rate", [0.15, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("sigma", [0.0, 1.0, 1e6])
def test_pieces_are_exactly_the_floor_and_words_at_most(rate, sigma):
    tokens, vocabulary = texts(LENGTHS)
    tokens = scored(tokens, vocabulary)
    inside_BL = content(tokens, vocabulary)
    room_B = torch.tensor([max(1, math.floor(n * rate)) for n in inside_BL.sum(1).tolist()])
    word_BL = group_words(tokens, vocabulary, vocabulary.special_V).word_BL
    assert (inside_BL & (word_BL.diff(dim=1, prepend=torch.full((6, 1), -2)) == 0)).any(), "no word of two pieces"
    for rows in (None, 40):
        pieces = select(ImportanceMask(rate, sigma, unit="piece"), tokens, vocabulary, noise(6), "x", rows)
        words = select(ImportanceMask(rate, sigma, unit="word"), tokens, vocabulary, noise(6), "x", rows)
        assert pieces.shape == words.shape == ((6, 57) if rows is None else (6, 40, 57))
        allowed = room_B if rows is None else room_B[:, None]
        assert (pieces.sum(-1) == allowed).all()
        assert (words.sum(-1) <= allowed).all()
        assert (words.sum(-1) == allowed).any()
        inside = inside_BL if rows is None else inside_BL[:, None]
        assert not (pieces & ~inside).any()
        assert not (words & ~inside).any()
    for b in range(6):
        for w in range(int(word_BL[b].max()) + 1):
            parts = words[b][:, word_BL[b] == w]
            assert (parts.all(1) == parts.any(1)).all(), "a word was cut"


def greedy(order, size, room):
    taken = set()
    for word in order:
        if size[word] <= room:
            taken.add(word)
            room -= size[word]
    return taken


@pytest.mark.parametrize("rate", [0.2, 0.5, 0.8])
def test_without_noise_the_most_important_are_taken(rate):
    tokens, vocabulary = texts(LENGTHS, seed=3)
    tokens = scored(tokens, vocabulary)
    words = group_words(tokens, vocabulary, vocabulary.special_V)
    mask_BL = select(ImportanceMask(rate, 0.0, unit="word"), tokens, vocabulary, noise(6), "x")
    again_BL = select(ImportanceMask(rate, 0.0, unit="word"), tokens, vocabulary, noise(6, seed=5), "y")
    assert torch.equal(mask_BL, again_BL)
    for b in range(6):
        value = {
            w: tokens.values["importance"][b][words.word_BL[b] == w][0].item()
            for w in range(int(words.word_BL[b].max()) + 1)
        }
        room = max(1, math.floor(int(content(tokens, vocabulary)[b].sum()) * rate))
        taken = greedy(sorted(value, key=lambda w: -value[w]), words.size_BW[b].tolist(), room)  # noqa: B023
        assert mask_BL[b].tolist() == [w in taken for w in words.word_BL[b].tolist()]


def test_the_budget_is_the_floor_of_the_rate_as_it_is_written():
    """0.29 * 100 is 28.999999999999996 in binary floating point."""
    tokens, vocabulary = flat([0.0] * 100, 1)
    for rate, wanted in ((0.29, 29), (0.57, 57), (0.285, 28), (1 / 3, 33), (0.001, 1)):
        assert select(ImportanceMask(rate), tokens, vocabulary, noise(1), "x").sum() == wanted, rate


def test_endless_noise_is_uniform():
    tokens, vocabulary = flat([5.0, -3, 0, 2, 1, -1, 4, 3, -2, 6], DRAWS)
    for unit in ("word", "piece"):
        mask_BL = select(ImportanceMask(0.3, 1e9, unit=unit), tokens, vocabulary, noise(DRAWS), "x")
        share = mask_BL[:, 1:-1].double().mean(0)
        assert (share - 0.3).abs().max() < 4.5 * math.sqrt(0.3 * 0.7 / DRAWS)


def test_with_some_noise_more_important_means_more_often():
    importance = [0.0, 0.4, 0.8, 1.2, 1.6, 2.0, 2.4, 2.8]
    tokens, vocabulary = flat(importance, DRAWS)
    mask_BL = select(ImportanceMask(0.5), tokens, vocabulary, noise(DRAWS), "x")
    share = mask_BL[:, 1:-1].double().mean(0).tolist()
    assert share == sorted(share)
    assert share[0] > 0.005
    assert share[-1] < 0.995


def test_the_noise_is_normal():
    """Of two words the first is taken when e1 - e2 > gap, with probability 1 - Phi(gap / (sigma sqrt 2))."""
    for gap, sigma in ((0.5, 1.0), (2.0, 1.0), (2.0, 3.0)):
        tokens, vocabulary = flat([0.0, gap], DRAWS)
        mask_BL = select(ImportanceMask(0.5, sigma), tokens, vocabulary, noise(DRAWS), f"{gap}{sigma}")
        expected = 0.5 * math.erfc(gap / (2 * sigma))
        share = mask_BL[:, 1].double().mean().item()
        assert abs(share - expected) < 4.5 * math.sqrt(expected * (1 - expected) / DRAWS)


def test_relative_noise_scales_with_the_passage():
    importance = [0.0, 1.0, 2.0, 5.0]
    spread = torch.tensor(importance, dtype=torch.float64).std(correction=0).item()
    masks = []
    for factor, sigma, relative in ((1, 0.7 * spread, False), (1, 0.7, True), (100, 0.7, True)):
        tokens, vocabulary = flat([value * factor for value in importance], 500)
        masks.append(select(ImportanceMask(0.5, sigma, relative), tokens, vocabulary, noise(500), "x", 3))
    assert torch.equal(masks[0], masks[1])
    assert torch.equal(masks[0], masks[2])
    assert 0 < masks[0][:, :, 1].double().mean() < 0.5


def test_deviation_of_the_used_values_or_one():
    value_BW = torch.tensor([[1.0, 5, 99], [7, 99, 99], [99, 99, 99]])
    used_BW = torch.tensor([[1, 1, 0], [1, 0, 0], [0, 0, 0]]).bool()
    assert deviation(value_BW, used_BW).tolist() == [[2.0], [1.0], [1.0]]


@pytest.mark.parametrize(("sigma", "relative"), [(0.0, False), (0.0, True), (1.0, True)])
@pytest.mark.parametrize("value", [0.0, 2.1, 1e5 / 3])
def test_ties_are_broken_at_random(sigma, relative, value):
    tokens, vocabulary = flat([value] * 6, DRAWS)
    mask_BL = select(ImportanceMask(0.5, sigma, relative), tokens, vocabulary, noise(DRAWS), "x")
    share = mask_BL[:, 1:-1].double().mean(0)
    assert (mask_BL.sum(1) == 3).all()
    assert (share - 0.5).abs().max() < 4.5 * math.sqrt(0.25 / DRAWS)


def test_rank_orders_by_score_then_tie():
    score = torch.tensor([[3.0, 1.0, 3.0, 2.0]])
    tie = torch.tensor([[0.1, 0.9, 0.4, 0.2]])
    assert rank(score, tie).tolist() == [[2, 0, 3, 1]]


def test_a_single_piece_is_masked_and_nothing_where_there_is_nothing():
    tokens, vocabulary = flat([1.0], 1)
    for unit in ("word", "piece"):
        mask = ImportanceMask(0.3, unit=unit)
        assert select(mask, tokens, vocabulary, noise(1), "x")[0].tolist() == [False, True, False]
        empty, vocabulary2 = copies(["[CLS]", "[UNK]", "[SEP]"], 2)
        empty = Tokens(empty.ids_BL, empty.real_BL, {"importance": torch.zeros(2, 3)})
        for relative in (False, True):
            policy = ImportanceMask(0.3, sigma_relative=relative, unit=unit)
            assert not select(policy, empty, vocabulary2, noise(2), "x").any()


def test_the_encoders_mask_ignores_importance_and_ours_ignores_the_encoders():
    tokens, vocabulary = flat([0.0, 0.5, 1.0, 1.5, 2.0, 2.5], DRAWS)
    bare = Tokens(tokens.ids_BL, tokens.real_BL)
    encoder_BL = select(UniformMask(0.3), tokens, vocabulary, noise(DRAWS), "encoder")
    assert torch.equal(encoder_BL, select(UniformMask(0.3), bare, vocabulary, noise(DRAWS), "encoder"))
    policy = ImportanceMask(0.5)
    decoder_BL = select(policy, tokens, vocabulary, noise(DRAWS), "decoder", reference_BL=encoder_BL)
    assert not policy.relative
    assert torch.equal(decoder_BL, select(policy, tokens, vocabulary, noise(DRAWS), "decoder"))
    for place in range(1, 7):
        pair = torch.stack([encoder_BL[:, place].double(), decoder_BL[:, place].double()])
        assert torch.corrcoef(pair)[0, 1].abs() < 4.5 / math.sqrt(DRAWS)


def test_same_mask_whatever_the_batch_and_rows_are_independent():
    tokens, vocabulary = texts((20, 9, 14))
    full = scored(tokens, vocabulary)
    for policy in (ImportanceMask(0.5), ImportanceMask(0.5, 2.0, True), ImportanceMask(0.5, unit="word")):
        mask_BL = select(policy, full, vocabulary, noise(3), "x")
        part = Tokens(full.ids_BL[1:, :16], full.real_BL[1:, :16], {"importance": full.values["importance"][1:, :16]})
        source = noise(3)
        source.epoch_B, source.passage_B = source.epoch_B[1:], source.passage_B[1:]
        assert torch.equal(select(policy, part, vocabulary, source, "x"), mask_BL[1:, :16])
        mask_BRL = select(policy, full, vocabulary, noise(3), "x", rows=30)
        assert torch.equal(mask_BRL[:, 0], mask_BL)
        assert len({tuple(row) for row in mask_BRL[0].int().tolist()}) > 1


def test_texts_without_values():
    tokens, vocabulary = texts()
    assert ImportanceMask(0.5, value="ami").values == ("ami",)
    with pytest.raises(BadInput, match="found no 'ami' values with its text; they come from the statistics stage"):
        select(ImportanceMask(0.5, value="ami"), tokens, vocabulary, noise(4), "x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rate": 0}, r"mask rate must lie in \(0, 1\), got 0"),
        ({"rate": 1.0}, r"mask rate must lie in \(0, 1\), got 1.0"),
        ({"sigma": -1.0}, "sigma must be at least 0 and finite, got -1.0"),
        ({"sigma": math.inf}, "sigma must be at least 0 and finite, got inf"),
        ({"sigma": math.nan}, "sigma must be at least 0 and finite, got nan"),
        ({"unit": "token"}, "unit must be one of word, piece, got 'token'"),
    ],
)
def test_impossible_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        ImportanceMask(**({"rate": 0.5} | arguments))
