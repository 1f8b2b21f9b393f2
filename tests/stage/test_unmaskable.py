"""Passages of which a mask can select nothing, against many draws of the mask itself."""

import pytest
import torch
from support.masks import copies, noise, select, wrapped
from support.stores import write_store

from bmae_lightning.encoder.batch import TextBatch, Tokens
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.corruption.bert import BertCorruption
from bmae_lightning.pretraining.decoder.shallow import ShallowDecoder
from bmae_lightning.pretraining.decoder.skip import SkipDecoder
from bmae_lightning.pretraining.mask.complement import ComplementMask
from bmae_lightning.pretraining.mask.importance import ImportanceMask
from bmae_lightning.pretraining.mask.keyword import KeywordMask
from bmae_lightning.pretraining.mask.policy import MaskRequest
from bmae_lightning.pretraining.mask.superset import SupersetMask
from bmae_lightning.pretraining.mask.uniform import UniformMask
from bmae_lightning.pretraining.view import View
from bmae_lightning.stage.streams import PassageBatches, Stream
from bmae_lightning.stage.unmaskable import count_unmaskable, unmaskable

NAMES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "##c", "##d"]
LONG, MIXED, UNKNOWN = [5, 7, 8, 7, 8, 7, 8, 7], [5, 7, 8, 7, 8, 6, 5, 7], [1, 5, 7, 8, 7, 8, 7, 8]
TEXTS = [["a", "##c", "##c", "b"], ["a", *["##c"] * 5], ["[UNK]", "a", *["##c"] * 5], ["a", "##c", "b", "##c"], ["a"]]
POLICIES = [
    UniformMask(0.3),
    UniformMask(0.3, "prefix"),
    UniformMask(0.3, "overshoot"),
    UniformMask(0.3, specials="skip"),
    UniformMask(0.3, unit="piece"),
    SupersetMask(0.5, 0.3),
    SupersetMask(0.3, 0.3),
    ImportanceMask(0.3, sigma=50.0, unit="word"),
    ImportanceMask(0.3, sigma=50.0),
    KeywordMask(0.5),
]


@pytest.mark.parametrize("text", TEXTS, ids=" ".join)
@pytest.mark.parametrize("policy", POLICIES, ids=str)
def test_selectable_is_what_some_draw_selects(policy, text):
    tokens, vocabulary = copies(wrapped(text))
    values = {name: torch.zeros(tokens.ids_BL.shape) for name in ("importance", "keyword_weight")}
    tokens = Tokens(tokens.ids_BL, tokens.real_BL, values)
    reference_BL = None
    if policy.relative:
        reference_BL = tokens.real_BL & (torch.arange(tokens.ids_BL.shape[1]) == 2)
    drawn_BL = select(policy, tokens, vocabulary, noise(1), "x", 500, reference_BL).any(1)
    request = MaskRequest(tokens, vocabulary, noise(1), "x", reference_BL=reference_BL)
    content_BL = request.content_BL
    assert torch.equal(policy.selectable(request) & content_BL, drawn_BL & content_BL)


def views(mask):
    return {"passage": View(mask, BertCorruption())}


def decoders(**masks):
    return {name: ShallowDecoder(mask, BertCorruption()) for name, mask in masks.items()}


def test_passages_of_one_long_word_are_counted_at_the_length_of_the_training(tmp_path, capsys):
    """A budget of 3 of 10 tokens; of LONG the first two pieces are left at length 4, and 1 of 4 is the budget."""
    store = write_store(tmp_path / "store", [LONG, MIXED, UNKNOWN, LONG, [1], [6]], vocabulary=9)
    vocabulary = Vocabulary.from_tokens(NAMES)
    batches = PassageBatches({"passage": Stream(store, None, ["importance"])}, vocabulary, 32)
    parts = decoders(
        uniform=UniformMask(0.5), superset=SupersetMask(0.5, 0.3), complement=ComplementMask(),
        keyword=KeywordMask(0.3), pieces=ImportanceMask(0.3), words=ImportanceMask(0.3, unit="word"),
    )  # fmt: skip
    parts["skip"] = SkipDecoder()
    counts = count_unmaskable(views(UniformMask(0.3)), parts, batches, 6, "pretrain")
    assert counts == {
        "view.passage.mask": 3, "decoders.uniform.mask": 3, "decoders.superset.mask": 3, "decoders.words.mask": 3
    }  # fmt: skip
    assert "pretrain: 3 of 6 passages have no word that fits view.passage.mask, which masks none there" in (
        capsys.readouterr().out
    )
    short = PassageBatches({"passage": Stream(store)}, vocabulary, 4)
    assert count_unmaskable(views(UniformMask(0.3)), {}, short, 6, "pretrain") == {"view.passage.mask": 3}
    capsys.readouterr()
    assert count_unmaskable(views(KeywordMask(0.3)), {}, batches, 6, "pretrain") == {}
    assert "no word" not in capsys.readouterr().out


def test_a_superset_of_another_mask_counts_what_neither_selects():
    vocabulary = Vocabulary.from_tokens(NAMES)
    ids_BL = torch.tensor([[2, *LONG, 3]])
    rows = torch.zeros(1, dtype=torch.int64)
    batch = TextBatch({"passage": Tokens(ids_BL, ids_BL > 0)}, rows, rows)
    for rate, more, wanted in ((0.3, 0.5, (True, True)), (0.3, 0.9, (True, False)), (0.8, 0.9, (False, False))):
        found = unmaskable(views(UniformMask(rate)), decoders(shallow=SupersetMask(more, rate)), batch, vocabulary)
        assert (bool(found["view.passage.mask"]), bool(found["decoders.shallow.mask"])) == wanted
