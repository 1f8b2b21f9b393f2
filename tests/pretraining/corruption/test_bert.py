"""BertCorruption: shares of 80/10/10, labels, special ids."""

import pytest
import torch
from support.masks import noise

from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.corruption.hide import HideCorruption

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
VOCABULARY = Vocabulary.from_tokens(SPECIAL + [f"w{i}" for i in range(95)])


def draw(corruption, rows=1500, length=100, low=5):
    ids_BL = torch.randint(low, 100, (rows, length), generator=torch.Generator().manual_seed(0))
    selected_BL = torch.ones_like(ids_BL).bool()
    return ids_BL, corruption.corrupt(ids_BL, selected_BL, VOCABULARY, noise(rows), "x")


@pytest.mark.parametrize(("mask", "random"), [(0.8, 0.1), (0.5, 0.5), (0.0, 0.3), (1.0, 0.0), (0.0, 0.0)])
def test_shares_of_mask_random_and_kept(mask, random):
    ids_BL, text = draw(BertCorruption(mask, random))
    count, size = ids_BL.numel(), VOCABULARY.size
    masked = text.ids_BL == VOCABULARY.mask_id
    kept = text.ids_BL == ids_BL
    expected = {"masked": mask + random / size, "kept": 1 - mask - random + random / size}
    for name, share in (("masked", masked), ("kept", kept)):
        p = expected[name]
        assert abs(share.double().mean() - p) <= 4 * (p * (1 - p) / count) ** 0.5, name


def test_random_ids_are_uniform_over_the_whole_vocabulary():
    _, text = draw(BertCorruption(0.0, 1.0))
    hits = torch.bincount(text.ids_BL.flatten(), minlength=100).double()
    expected = text.ids_BL.numel() / 100
    assert abs(((hits - expected) ** 2 / expected).sum() - 99) < 5 * (2 * 99) ** 0.5


def test_pieces_of_a_word_have_their_own_fate():
    _, text = draw(BertCorruption())
    masked = (text.ids_BL == VOCABULARY.mask_id).double()
    pair = torch.stack([masked[:, :-1].flatten(), masked[:, 1:].flatten()])
    assert abs(torch.corrcoef(pair)[0, 1]) < 4.5 / pair.shape[1] ** 0.5


@pytest.mark.parametrize("corruption", [BertCorruption(), HideCorruption()])
def test_special_ids_are_never_labelled_or_replaced(corruption):
    ids_BL, text = draw(corruption, rows=50, low=0)
    special_BL = VOCABULARY.special_V[ids_BL]
    assert special_BL.any()
    assert (text.labels_BL[special_BL] == -100).all()
    assert torch.equal(text.ids_BL[special_BL], ids_BL[special_BL])
    assert torch.equal(text.selected_BL, ~special_BL)


@pytest.mark.parametrize("corruption", [BertCorruption(), HideCorruption()])
def test_labels_are_the_original_ids(corruption):
    ids_BL = torch.randint(5, 100, (20, 30))
    selected_BL = torch.rand(20, 30) < 0.4
    text = corruption.corrupt(ids_BL, selected_BL, VOCABULARY, noise(20), "x")
    assert torch.equal(text.labels_BL >= 0, selected_BL)
    assert torch.equal(text.labels_BL[selected_BL], ids_BL[selected_BL])
    assert torch.equal(text.ids_BL[~selected_BL], ids_BL[~selected_BL])


@pytest.mark.parametrize(("mask", "random"), [(0.8, 0.3), (-0.1, 0.1), (0.5, -0.1), (float("nan"), 0.1)])
def test_refuses_no_probabilities(mask, random):
    with pytest.raises(ValueError, match="mask and random must be probabilities"):
        BertCorruption(mask, random)
