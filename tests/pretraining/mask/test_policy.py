"""MaskRequest: what policies read from it, a part of it, and its errors; the check of rates."""

import re

import pytest
import torch
from support.masks import noise, texts

from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.pretraining.mask.policy import MaskPolicy, MaskRequest, check_rate
from bmae_lightning.runtime.errors import BadInput


def request(rows=3, values=None, **options):
    tokens, vocabulary = texts()
    tokens = Tokens(tokens.ids_BL, tokens.real_BL, values or {})
    return MaskRequest(tokens, vocabulary, noise(4), "x", rows, **options)


def test_lengths_and_content():
    given = request()
    special = [given.vocabulary.pad_id, given.vocabulary.unk_id, given.vocabulary.cls_id, given.vocabulary.sep_id]
    assert given.length_B.tolist() == [32, 9, 3, 20]
    expected = [[token not in special for token in row] for row in given.tokens.ids_BL.tolist()]
    assert given.content_BL.tolist() == expected


def test_numbers_are_those_of_the_salt():
    given = request()
    assert torch.equal(given.uniform(), noise(4).uniform("x", 32, 3))
    assert torch.equal(given.key_B, noise(4).keys("x"))
    assert not torch.equal(given.uniform()[:, 0], given.uniform()[:, 1])


def test_one_mask_in_every_row():
    mask_BL = request().tokens.real_BL
    assert torch.equal(request().in_every_row(mask_BL), torch.stack([mask_BL] * 3, 1))


def test_a_part_is_the_request_of_these_passages_alone():
    value_BL, reference_BL = torch.randn(4, 32), torch.rand(4, 32) < 0.5
    given = request(values={"v": value_BL}, reference_BL=reference_BL)
    index_G = torch.tensor([3, 1])
    part = given.part(index_G, 20)
    assert torch.equal(part.tokens.ids_BL, given.tokens.ids_BL[index_G, :20])
    assert torch.equal(part.values("v", "m"), value_BL[index_G, :20])
    assert torch.equal(part.encoder_selection("m"), reference_BL[index_G, :20])
    assert torch.equal(part.uniform(), given.uniform()[index_G, :, :20])
    assert torch.equal(given.part(slice(None), 32).uniform(), given.uniform())
    assert request().part(index_G, 9).reference_BL is None


def test_what_is_missing_is_named():
    with pytest.raises(BadInput, match="the odd mask found no 'v' values with its text"):
        request().values("v", "odd")
    with pytest.raises(BadInput, match="the odd mask relates to what the encoder's view selected"):
        request().encoder_selection("odd")


def test_a_policy_must_select():
    with pytest.raises(TypeError, match="abstract"):
        MaskPolicy()


@pytest.mark.parametrize("rate", [0, 1, -0.5, 2, float("nan")])
def test_rates_outside_the_unit_interval(rate):
    with pytest.raises(ValueError, match=re.escape(f"mask rate must lie in (0, 1), got {rate}")):
        check_rate(rate)


def test_rates_inside():
    check_rate(0.3)
