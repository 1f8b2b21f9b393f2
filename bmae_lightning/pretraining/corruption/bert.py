"""BERT's corruption: a selected piece becomes [MASK], a random piece, or stays (80/10/10).

Used by the encoders of RetroMAE, DupMAE, MASTER and CDMAE and by the masked decoders of MASTER and CDMAE.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmae_lightning.pretraining.corruption.corruption import Corrupted, Corruption
from bmae_lightning.pretraining.kernels.dispatch import compiled_twin

if TYPE_CHECKING:
    from torch import Tensor

    from bmae_lightning.encoder.vocabulary import Vocabulary
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
        from bmae_lightning.pretraining.loss.vocabulary import IGNORED

        keys = noise.keys(f"{salt}/fate"), noise.keys(f"{salt}/random")
        shares = self.mask, self.mask + self.random
        return Corrupted(
            *corrupt_pieces(ids_BL, selected_BL, vocabulary.special_V, *keys, vocabulary.mask_id, *shares, IGNORED)
        )


@compiled_twin
def corrupt_pieces(
    ids_BL: Tensor, selected_BL: Tensor, special_V: Tensor, fate_key_B: Tensor, random_key_B: Tensor, mask_id: int,
    hide: float, change: float, ignored: int,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The fields of `Corrupted`: mask_id where a position's fate is below hide, any id where it is below change."""
    import torch

    from bmae_lightning.pretraining.noise import uniform

    selected_BL = selected_BL & ~special_V[ids_BL]
    fate_BL = uniform(fate_key_B, 1, ids_BL.shape[1])[:, 0]
    random_BL = (uniform(random_key_B, 1, ids_BL.shape[1])[:, 0] * len(special_V)).long()
    changed_BL = torch.where(fate_BL < change, random_BL, ids_BL).masked_fill(fate_BL < hide, mask_id)
    new_BL = torch.where(selected_BL, changed_BL, ids_BL)
    return new_BL, torch.where(selected_BL, ids_BL, ignored), selected_BL
