"""HideCorruption: [MASK] at every selected position and nowhere else."""

import torch

from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.corruption.hide import HideCorruption
from bmae_lightning.pretraining.noise import Noise


def test_hides_all_selected_positions():
    vocabulary = Vocabulary.from_tokens(["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c"])
    ids_BL = torch.tensor([[2, 5, 6, 1, 7, 3, 0]])
    selected_BL = torch.tensor([[True, True, False, True, True, True, True]])
    text = HideCorruption().corrupt(ids_BL, selected_BL, vocabulary, Noise(0, ids_BL[:, 0], ids_BL[:, 0]), "x")
    assert text.ids_BL.tolist() == [[2, 4, 6, 1, 4, 3, 0]]
    assert text.labels_BL.tolist() == [[-100, 5, -100, -100, 7, -100, -100]]
    assert text.selected_BL.tolist() == [[False, True, False, False, True, False, False]]
