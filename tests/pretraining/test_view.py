"""View: its parts in order, its reference, its errors."""

import numpy as np
import pytest
import torch
from support.masks import select

from bmae_lightning.encoder.batch import TextBatch, Tokens
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.corruption.hide import HideCorruption
from bmae_lightning.pretraining.mask.policy import MaskPolicy
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.pretraining.view import View, take

VOCABULARY = Vocabulary.from_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *"abcdefgh"])


class Complement(MaskPolicy):
    """The positions that the reference leaves out."""

    def select(self, request):
        reference_BL = request.reference_BL
        return request.in_every_row(torch.ones_like(request.tokens.real_BL) if reference_BL is None else ~reference_BL)


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
    selected_BL = select(UniformMask(0.5), batch().streams["queries"], VOCABULARY, noise(), "x/mask")
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
    with pytest.raises(ValueError, match="there is passage, queries"):
        View(UniformMask(0.5), HideCorruption(), "zzz")(batch(), VOCABULARY, noise(), "x")


def test_the_halves_make_up_the_text():
    rows = [list(range(5, 12)), [9], [], [5, 6]]
    tokens = VOCABULARY.pad([np.array(row, dtype=int) for row in rows], 32)
    tokens = Tokens(tokens.ids_BL, tokens.real_BL, {"value": tokens.ids_BL.double()})
    texts = TextBatch({"passage": tokens}, torch.arange(4), torch.zeros(4).long())
    halves = [take(texts, "passage", span, VOCABULARY) for span in ("first_half", "second_half")]
    for b, row in enumerate(rows):
        found = []
        for part in halves:
            ids = part.ids_BL[b][part.real_BL[b]].tolist()
            assert (ids[0], ids[-1]) == (VOCABULARY.cls_id, VOCABULARY.sep_id)
            assert (part.ids_BL[b][~part.real_BL[b]] == VOCABULARY.pad_id).all()
            assert part.values["value"][b][part.real_BL[b]].tolist() == ids
            found.append(ids[1:-1])
        assert found == [row[: len(row) // 2], row[len(row) // 2 :]]


def test_segments_begin_behind_the_first_inner_separator():
    ids_BL = torch.tensor([[2, 5, 3, 6, 7, 3, 0], [2, 5, 6, 3, 0, 0, 0], [2, 5, 3, 6, 3, 7, 3]])
    texts = TextBatch({"passage": Tokens(ids_BL, ids_BL != 0)}, torch.arange(3), torch.zeros(3).long())
    text = View(UniformMask(0.5), HideCorruption(), segments=True)(texts, VOCABULARY, noise_of(texts), "x")
    assert text.types_BL.tolist() == [[0, 0, 0, 1, 1, 1, 0], [0] * 7, [0, 0, 0, 1, 1, 1, 1]]
    assert View(UniformMask(0.5), HideCorruption())(texts, VOCABULARY, noise_of(texts), "x").types_BL is None


def noise_of(texts):
    return Noise(0, texts.epoch_B, texts.passage_B)
