"""The rule that all corruptions share."""

import torch

from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.corruption.corruption import label_selected, unselect_special


def test_special_ids_are_unselected_and_labels_follow():
    vocabulary = Vocabulary.from_tokens(["a", "[MASK]", "[SEP]", "[CLS]", "[UNK]", "[PAD]", "##b"])
    ids_BL = torch.arange(7)[None]
    selected_BL = unselect_special(ids_BL, torch.ones(1, 7).bool(), vocabulary)
    assert selected_BL.tolist() == [[True, False, False, False, False, False, True]]
    assert label_selected(ids_BL, selected_BL).tolist() == [[0, -100, -100, -100, -100, -100, 6]]
