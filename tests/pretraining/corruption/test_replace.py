"""ReplaceCorruption: what is replaced, what is labelled, what the generator reads."""

import pytest
import torch
from support.generators import SIZE, VOCABULARY, GivenLogits, TinyGenerator, noise, texts

from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.corruption.replace import ReplaceCorruption


class Listening(TinyGenerator):
    """Keeps what it was given."""

    def replace(self, *arguments):
        self.given = arguments
        return super().replace(*arguments)


def bound(generator, **options):
    corruption = ReplaceCorruption(**options)
    corruption.bind(generator.build(None))
    return corruption


def corrupted(corruption, batch, every=2):
    """(original, what the mask wanted, result); the mask wants special tokens and padding too."""
    ids_BL = batch.streams["passage"].ids_BL.clone()
    ids_BL[0, 4] = VOCABULARY.unk_id
    wanted_BL = torch.arange(ids_BL.shape[1]).expand(ids_BL.shape) % every == 0
    return ids_BL, wanted_BL, corruption.corrupt(ids_BL, wanted_BL, VOCABULARY, noise(batch), "views.passage")


@pytest.mark.parametrize("labels", ["all", "selected"])
def test_only_selected_ordinary_tokens_change_and_labels_are_original(labels):
    original_BL, wanted_BL, text = corrupted(bound(TinyGenerator(), labels=labels), texts())
    special_BL = VOCABULARY.special_V[original_BL]
    assert torch.equal(text.selected_BL, wanted_BL & ~special_BL)
    assert torch.equal(text.ids_BL[~text.selected_BL], original_BL[~text.selected_BL])
    labelled_BL = ~special_BL if labels == "all" else text.selected_BL
    assert torch.equal(text.labels_BL, original_BL.masked_fill(~labelled_BL, -100))
    assert text.loss is None


def test_no_mask_token_is_left_unless_drawn():
    logits_V = torch.zeros(SIZE).index_fill(0, torch.tensor([VOCABULARY.mask_id]), -torch.inf)
    _, _, text = corrupted(bound(GivenLogits(logits_V)), texts((40,) * 200))
    assert (text.ids_BL != VOCABULARY.mask_id).all()
    sure = torch.zeros(SIZE).index_fill(0, torch.tensor([VOCABULARY.mask_id]), 1e4)
    _, _, text = corrupted(bound(GivenLogits(sure)), texts())
    assert (text.ids_BL[text.selected_BL] == VOCABULARY.mask_id).all()


def test_the_generator_reads_masks_or_bert_texts():
    generator = Listening()
    original_BL, _, text = corrupted(bound(generator), texts())
    shown_BL, given_BL, selected_BL, real_BL, _, salt, types_BL, size = generator.given
    assert torch.equal(shown_BL, original_BL.masked_fill(text.selected_BL, VOCABULARY.mask_id))
    assert torch.equal(given_BL, original_BL)
    assert torch.equal(selected_BL, text.selected_BL)
    assert torch.equal(real_BL, texts().streams["passage"].real_BL)
    assert salt.startswith("views.passage/")
    assert (types_BL, size) == (None, VOCABULARY.size)

    batch = texts((40,) * 50)
    original_BL, _, text = corrupted(bound(generator, input="bert"), batch)
    shown_BL = generator.given[0]
    share = (shown_BL == VOCABULARY.mask_id)[text.selected_BL].double().mean()
    assert 0.75 < share < 0.85
    expected = BertCorruption().corrupt(original_BL, text.selected_BL, VOCABULARY, noise(batch), f"{salt[:13]}/input")
    assert torch.equal(shown_BL, expected.ids_BL)
    kept_BL = text.selected_BL & (shown_BL == original_BL)
    assert (text.ids_BL != original_BL)[kept_BL].any(), "a kept token is drawn anew as well"


def test_token_types_for_the_generator():
    generator = Listening()
    corruption = bound(generator, segments=True)
    ids_BL = torch.tensor([[101, 150, 102, 151, 152, 102, 0]])
    batch = texts((1,))
    corruption.corrupt(ids_BL, ids_BL == 151, VOCABULARY, noise(batch), "x")
    assert generator.given[-2].tolist() == [[0, 0, 0, 1, 1, 1, 0]]
    assert torch.equal(generator.given[-2], Tokens(ids_BL, ids_BL != 0).segments(102))


def test_a_trained_generator_hands_its_loss_on():
    _, _, text = corrupted(bound(TinyGenerator(train=True)), texts())
    assert text.loss.count == text.selected_BL.sum()
    assert text.loss.total.requires_grad
    with torch.no_grad():
        assert corrupted(bound(TinyGenerator(train=True)), texts())[2].loss is None


def test_refused():
    with pytest.raises(ValueError, match="input must be one of hide, bert, got 'mask'"):
        ReplaceCorruption(input="mask")
    with pytest.raises(ValueError, match="labels must be one of all, selected, got 'none'"):
        ReplaceCorruption(labels="none")
    for corruption in (ReplaceCorruption(), ReplaceCorruption()):
        corruption.bind(None)
        with pytest.raises(ValueError, match="needs a built generator"):
            corrupted(corruption, texts())
