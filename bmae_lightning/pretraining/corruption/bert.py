"""BERT's corruption: a selected piece becomes [MASK], a random piece, or stays (80/10/10).

Used by the encoders of RetroMAE, DupMAE, MASTER and CDMAE and by the masked decoders of MASTER and CDMAE.
"""

import torch
from torch import Tensor

from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.corruption.corruption import Corrupted, Corruption, label_selected, unselect_special
from bmae_lightning.pretraining.kernels import dispatch as native
from bmae_lightning.pretraining.loss.vocabulary import IGNORED
from bmae_lightning.pretraining.noise import Noise


class BertCorruption(Corruption):
    """Each selected piece by itself: [MASK] with probability `mask`, any id at all with probability `random`."""

    def __init__(self, mask: float = 0.8, random: float = 0.1):
        if not (mask >= 0 and random >= 0 and mask + random <= 1):
            raise ValueError(f"mask and random must be probabilities that sum to at most 1, got {mask} and {random}")
        self.mask = mask
        self.random = random

    def corrupt(
        self, ids_BL: Tensor, selected_BL: Tensor, vocabulary: Vocabulary, noise: Noise, salt: str
    ) -> Corrupted:
        if loops := native.loops("texts", ids_BL):
            new_BL, labels_BL = torch.empty_like(ids_BL), torch.empty_like(ids_BL)
            taken_BL = torch.empty_like(selected_BL)
            loops.corrupt_pieces(
                native.array(ids_BL), native.array(selected_BL, torch.bool),
                native.array(vocabulary.special_V, torch.bool),
                noise.key_bits(f"{salt}/fate"), noise.key_bits(f"{salt}/random"),
                self.mask, self.mask + self.random, vocabulary.mask_id, IGNORED,
                new_BL.numpy(), labels_BL.numpy(), taken_BL.numpy(),
            )  # fmt: skip
            return Corrupted(new_BL, labels_BL, taken_BL)
        selected_BL = unselect_special(ids_BL, selected_BL, vocabulary)
        length = ids_BL.shape[1]
        fate_BL = noise.uniform(f"{salt}/fate", length)
        random_BL = noise.below(f"{salt}/random", length, vocabulary.size)
        changed_BL = torch.where(fate_BL < self.mask + self.random, random_BL, ids_BL)
        changed_BL = changed_BL.masked_fill(fate_BL < self.mask, vocabulary.mask_id)
        return Corrupted(torch.where(selected_BL, changed_BL, ids_BL), label_selected(ids_BL, selected_BL), selected_BL)
