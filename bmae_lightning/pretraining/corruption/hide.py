"""Every selected piece becomes [MASK]: RetroMAE's paper text, and the generator's input in SimLM's released script."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmae_lightning.pretraining.corruption.corruption import Corrupted, Corruption, label_selected, unselect_special

if TYPE_CHECKING:
    from torch import Tensor

    from bmae_lightning.encoder.vocabulary import Vocabulary
    from bmae_lightning.pretraining.noise import Noise


class HideCorruption(Corruption):
    """Replaces all selected pieces by [MASK]."""

    def corrupt(
        self, ids_BL: Tensor, selected_BL: Tensor, vocabulary: Vocabulary, noise: Noise, salt: str
    ) -> Corrupted:
        selected_BL = unselect_special(ids_BL, selected_BL, vocabulary)
        hidden_BL = ids_BL.masked_fill(selected_BL, vocabulary.mask_id)
        return Corrupted(hidden_BL, label_selected(ids_BL, selected_BL), selected_BL)
