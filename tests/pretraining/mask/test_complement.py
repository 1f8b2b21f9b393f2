"""ComplementMask: the recorded pairs of the original, exactly one label per content token, no text of its own."""

import pytest
import torch
from support.masks import copies, load, noise, select, texts, wrapped

from bmae_lightning.encoder.batch import TextBatch
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.loss.vocabulary import IGNORED
from bmae_lightning.pretraining.mask.complement import ComplementMask
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.view import View
from bmae_lightning.runtime.errors import BadInput


def test_pairs_are_those_of_the_original():
    for case in load("complement"):
        tokens, vocabulary = copies(wrapped(case["tokens"]))
        encoder_BL = torch.tensor([case["encoder_labels"]]) != IGNORED
        mask_BL = select(ComplementMask(), tokens, vocabulary, noise(1), "x", reference_BL=encoder_BL)
        assert torch.equal(mask_BL, torch.tensor([case["decoder_labels"]]) != IGNORED), case["tokens"]


def pair(stream):
    """The encoder's and the decoder's masked text."""
    tokens, vocabulary = texts()
    batch = TextBatch({"passage": tokens, "other": tokens}, torch.arange(4), torch.zeros(4).long())
    encoder = View(UniformMask(0.5, specials="skip"), BertCorruption())
    seen = encoder(batch, vocabulary, noise(4), "views.passage")
    decoder = View(ComplementMask(), BertCorruption(), stream)
    return seen, decoder(batch, vocabulary, noise(4), "decoders.x", reference=seen), vocabulary


def test_exactly_one_label_per_content_token():
    seen, shown, vocabulary = pair("passage")
    labelled_BL = (seen.labels_BL != IGNORED) ^ (shown.labels_BL != IGNORED)
    assert torch.equal(labelled_BL, ~vocabulary.special_V[seen.tokens.ids_BL])
    assert not ((seen.labels_BL != IGNORED) & (shown.labels_BL != IGNORED)).any()


def test_rows_are_all_the_one_mask():
    tokens, vocabulary = texts()
    encoder_BL = tokens.real_BL & (torch.arange(32) % 3 == 0)
    one_BL = select(ComplementMask(), tokens, vocabulary, noise(4), "x", reference_BL=encoder_BL)
    rows_BRL = select(ComplementMask(), tokens, vocabulary, noise(4), "x", rows=3, reference_BL=encoder_BL)
    assert torch.equal(rows_BRL, torch.stack([one_BL] * 3, 1))


def test_another_text_has_no_complement():
    with pytest.raises(BadInput, match="the complement mask relates to .* give the decoder the stream and span"):
        pair("other")
