"""View: its parts in order, its reference, its errors."""

import pytest
import torch

from bmae_lightning.batch import TextBatch, Tokens
from bmae_lightning.corruption.hide import HideCorruption
from bmae_lightning.mask.policy import MaskPolicy
from bmae_lightning.mask.uniform import UniformMask
from bmae_lightning.noise import Noise
from bmae_lightning.view import View
from bmae_lightning.vocabulary import Vocabulary

VOCABULARY = Vocabulary.from_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"])


class Complement(MaskPolicy):
    """The positions that the reference leaves out."""

    def select(self, tokens, vocabulary, noise, salt, rows=None, reference_BL=None):
        return torch.ones_like(tokens.real_BL) if reference_BL is None else ~reference_BL


def batch():
    ids_BL = torch.tensor([[2, 5, 6, 7, 8, 3], [2, 9, 10, 3, 0, 0]])
    tokens = Tokens(ids_BL, ids_BL != 0)
    zero = torch.zeros(2).long()
    return TextBatch({"passage": tokens, "queries": Tokens(ids_BL + (ids_BL > 4), ids_BL != 0)}, zero + 3, zero)


def noise():
    return Noise(0, batch().epoch_B, batch().passage_B)


def test_masks_and_corrupts_its_stream():
    view = View(UniformMask(0.5), HideCorruption(), "queries")
    text = view(batch(), VOCABULARY, noise(), "x")
    original_BL = batch().streams["queries"].ids_BL
    selected_BL = UniformMask(0.5).select(batch().streams["queries"], VOCABULARY, noise(), "x/mask")
    assert selected_BL.sum(1).tolist() == [3, 2]
    assert torch.equal(text.selected_BL, selected_BL)
    assert torch.equal(text.tokens.ids_BL, original_BL)
    assert torch.equal(text.labels_BL, torch.where(selected_BL, original_BL, -100))
    assert torch.equal(text.ids_BL, original_BL.masked_fill(selected_BL, 4))


def test_reference_is_the_selection_of_the_same_text_only():
    seen = View(UniformMask(0.5), HideCorruption())(batch(), VOCABULARY, noise(), "x")
    same = View(Complement(), HideCorruption())(batch(), VOCABULARY, noise(), "y", reference=seen)
    content_BL = ~VOCABULARY.special_V[batch().streams["passage"].ids_BL]
    assert torch.equal(same.selected_BL, content_BL & ~seen.selected_BL)
    other = View(Complement(), HideCorruption(), "queries")(batch(), VOCABULARY, noise(), "y", reference=seen)
    assert torch.equal(other.selected_BL, content_BL)


def test_unknown_names():
    with pytest.raises(ValueError, match="span must be one of whole, first_half, second_half, got 'hole'"):
        View(UniformMask(0.5), HideCorruption(), span="hole")
    with pytest.raises(ValueError, match="no stream 'query'; did you mean 'queries'"):
        View(UniformMask(0.5), HideCorruption(), "query")(batch(), VOCABULARY, noise(), "x")
    with pytest.raises(ValueError, match="there are: passage, queries"):
        View(UniformMask(0.5), HideCorruption(), "zzz")(batch(), VOCABULARY, noise(), "x")
