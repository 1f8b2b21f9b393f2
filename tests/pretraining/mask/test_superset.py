"""SupersetMask: second rate and union of the original, holds the encoder's selection, realises its rate."""

import re

import pytest
import torch

from bmae_lightning.pretraining.mask.superset import SupersetMask
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.runtime.errors import BadInput

DRAWS = 4000
PAIRS = [(0.15, 0.15), (0.15, 0.3), (0.3, 0.5), (0.3, 1.0), (0.4, 0.9)]


def pair(draws, tokens, vocabulary, encoder_rate, rate):
    source = draws.noise(len(tokens.ids_BL))
    encoder_BL = UniformMask(encoder_rate).select(tokens, vocabulary, source, "encoder")
    encoder_BL &= ~vocabulary.special_V[tokens.ids_BL]
    policy = SupersetMask(rate, encoder_rate)
    return encoder_BL, policy.select(tokens, vocabulary, source, "decoder", reference_BL=encoder_BL)


def test_second_rates_are_those_of_the_original(draws):
    tokens, vocabulary = draws.texts((200,))
    nothing_BL = torch.zeros_like(tokens.real_BL)
    for case in draws.load("simlm_second_rate"):
        if case["p_dec"] < case["p_enc"]:
            continue
        policy = SupersetMask(case["p_dec"], case["p_enc"])
        mask_BL = policy.select(tokens, vocabulary, draws.noise(1), "x", reference_BL=nothing_BL)
        assert bool(mask_BL.any()) == (case["second_rate"] is not None), case
        if case["second_rate"] is not None:
            assert policy.extra == case["second_rate"]


def test_union_frequencies_are_those_of_the_original(draws):
    recorded = draws.load("simlm_union_frequencies")
    for sentence in recorded["sentences"]:
        tokens, vocabulary = draws.copies(sentence["tokens"], DRAWS)
        encoder_BL, decoder_BL = pair(draws, tokens, vocabulary, recorded["p_enc"], recorded["p_dec"])
        decoder_BL &= ~vocabulary.special_V[tokens.ids_BL]
        draws.agree(encoder_BL.sum(0), DRAWS, sentence["encoder_label_hits"], recorded["draws"])
        draws.agree(decoder_BL.sum(0), DRAWS, sentence["decoder_label_hits"], recorded["draws"])


@pytest.mark.parametrize(("encoder_rate", "rate"), PAIRS)
def test_holds_the_encoders_selection(draws, encoder_rate, rate):
    tokens, vocabulary = draws.texts((40, 9, 1, 25))
    encoder_BL, decoder_BL = pair(draws, tokens, vocabulary, encoder_rate, rate)
    assert not (encoder_BL & ~decoder_BL).any()
    assert not decoder_BL[~tokens.real_BL].any()
    assert not decoder_BL[vocabulary.skip_V[tokens.ids_BL]].any()
    if rate == 1:
        assert decoder_BL[~vocabulary.special_V[tokens.ids_BL]].all()
    assert torch.equal(encoder_BL, decoder_BL) == (encoder_rate == rate)


@pytest.mark.parametrize(("encoder_rate", "rate"), PAIRS)
@pytest.mark.parametrize("size", [60, 140])
def test_the_union_realises_its_rate(draws, encoder_rate, rate, size):
    tokens, vocabulary = draws.texts((size,) * 300)
    _, decoder_BL = pair(draws, tokens, vocabulary, encoder_rate, rate)
    assert abs(decoder_BL.sum() / (300 * size) - rate) < 0.03


def test_rows_hold_the_encoders_selection_and_differ(draws):
    tokens, vocabulary = draws.texts()
    encoder_BL = tokens.real_BL & (torch.arange(32) % 7 == 3)
    mask_BRL = SupersetMask(0.5, 0.3).select(tokens, vocabulary, draws.noise(4), "x", 5, encoder_BL)
    assert mask_BRL.shape == (4, 5, 32)
    assert mask_BRL.transpose(1, 2)[encoder_BL].all()
    assert not torch.equal(mask_BRL[:, 0], mask_BRL[:, 1])
    same_BRL = SupersetMask(0.3, 0.3).select(tokens, vocabulary, draws.noise(4), "x", 5, encoder_BL)
    assert torch.equal(same_BRL, torch.stack([encoder_BL] * 5, 1))


def test_another_text_has_no_superset(draws):
    tokens, vocabulary = draws.texts()
    with pytest.raises(BadInput, match="the superset mask relates to what the encoder's view selected"):
        SupersetMask(0.5, 0.3).select(tokens, vocabulary, draws.noise(4), "x")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0.3, 0.5), "mask rate 0.3 is below encoder_rate 0.5"),
        ((1.1, 0.5), "mask rate must lie in (0, 1], got 1.1"),
        ((float("nan"), 0.5), "mask rate must lie in (0, 1], got nan"),
        ((0.5, 0), "encoder_rate must lie in (0, 1), got 0"),
        ((1.0, 1.0), "encoder_rate must lie in (0, 1), got 1.0"),
        ((0.5, 0.3, "greedy"), "fill must be one of"),
    ],
)
def test_impossible_arguments(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        SupersetMask(*arguments)
