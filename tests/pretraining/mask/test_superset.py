"""SupersetMask: second rate and union of the original, holds the encoder's selection, realises its rate."""

import re

import pytest
import torch
from support.masks import agree, copies, load, noise, select, texts

from bmae_lightning.pretraining.mask.superset import SupersetMask
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.runtime.errors import BadInput

DRAWS = 4000
PAIRS = [(0.15, 0.15), (0.15, 0.3), (0.3, 0.5), (0.3, 1.0), (0.4, 0.9)]


def pair(tokens, vocabulary, encoder_rate, rate):
    source = noise(len(tokens.ids_BL))
    encoder_BL = select(UniformMask(encoder_rate), tokens, vocabulary, source, "encoder")
    encoder_BL &= ~vocabulary.special_V[tokens.ids_BL]
    policy = SupersetMask(rate, encoder_rate)
    return encoder_BL, select(policy, tokens, vocabulary, source, "decoder", reference_BL=encoder_BL)


def test_second_rates_are_those_of_the_original():
    tokens, vocabulary = texts((200,))
    nothing_BL = torch.zeros_like(tokens.real_BL)
    for case in load("simlm_second_rate"):
        if case["p_dec"] < case["p_enc"]:
            continue
        policy = SupersetMask(case["p_dec"], case["p_enc"])
        mask_BL = select(policy, tokens, vocabulary, noise(1), "x", reference_BL=nothing_BL)
        assert bool(mask_BL.any()) == (case["second_rate"] is not None), case
        if case["second_rate"] is not None:
            assert policy.extra == case["second_rate"]


def test_union_frequencies_are_those_of_the_original():
    recorded = load("simlm_union_frequencies")
    for sentence in recorded["sentences"]:
        tokens, vocabulary = copies(sentence["tokens"], DRAWS)
        encoder_BL, decoder_BL = pair(tokens, vocabulary, recorded["p_enc"], recorded["p_dec"])
        decoder_BL &= ~vocabulary.special_V[tokens.ids_BL]
        agree(encoder_BL.sum(0), DRAWS, sentence["encoder_label_hits"], recorded["draws"])
        agree(decoder_BL.sum(0), DRAWS, sentence["decoder_label_hits"], recorded["draws"])


@pytest.mark.parametrize(("encoder_rate", "rate"), PAIRS)
def test_holds_the_encoders_selection(encoder_rate, rate):
    tokens, vocabulary = texts((40, 9, 1, 25))
    encoder_BL, decoder_BL = pair(tokens, vocabulary, encoder_rate, rate)
    assert not (encoder_BL & ~decoder_BL).any()
    assert not decoder_BL[~tokens.real_BL].any()
    assert not decoder_BL[vocabulary.skip_V[tokens.ids_BL]].any()
    if rate == 1:
        assert decoder_BL[~vocabulary.special_V[tokens.ids_BL]].all()
    assert torch.equal(encoder_BL, decoder_BL) == (encoder_rate == rate)


@pytest.mark.parametrize(("encoder_rate", "rate"), PAIRS)
@pytest.mark.parametrize("size", [60, 140])
def test_the_union_realises_its_rate(encoder_rate, rate, size):
    tokens, vocabulary = texts((size,) * 300)
    _, decoder_BL = pair(tokens, vocabulary, encoder_rate, rate)
    assert abs(decoder_BL.sum() / (300 * size) - rate) < 0.03


def test_rows_hold_the_encoders_selection_and_differ():
    tokens, vocabulary = texts()
    encoder_BL = tokens.real_BL & (torch.arange(32) % 7 == 3)
    mask_BRL = select(SupersetMask(0.5, 0.3), tokens, vocabulary, noise(4), "x", 5, encoder_BL)
    assert mask_BRL.shape == (4, 5, 32)
    assert mask_BRL.transpose(1, 2)[encoder_BL].all()
    assert not torch.equal(mask_BRL[:, 0], mask_BRL[:, 1])
    same_BRL = select(SupersetMask(0.3, 0.3), tokens, vocabulary, noise(4), "x", 5, encoder_BL)
    assert torch.equal(same_BRL, torch.stack([encoder_BL] * 5, 1))


def test_another_text_has_no_superset():
    tokens, vocabulary = texts()
    with pytest.raises(BadInput, match="the superset mask relates to what the encoder's view selected"):
        select(SupersetMask(0.5, 0.3), tokens, vocabulary, noise(4), "x")


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
