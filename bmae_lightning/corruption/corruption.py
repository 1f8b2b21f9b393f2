"""What becomes of the selected positions, and the rule all share: special ids are neither changed nor labelled.

Shapes: B passages, L positions, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

import torch
from torch import Tensor

from bmae_lightning.noise import Noise
from bmae_lightning.vocabulary import Vocabulary

IGNORED = -100


@dataclass(frozen=True)
class Corrupted:
    """ids_BL: the corrupted text.  labels_BL: ids to predict, else -100.  selected_BL: positions that may change."""

    ids_BL: Tensor
    labels_BL: Tensor
    selected_BL: Tensor


class Corruption(ABC):
    """One file per corruption; a corruption with a network (a generator) may also be an nn.Module."""

    @abstractmethod
    def corrupt(
        self, ids_BL: Tensor, selected_BL: Tensor, vocabulary: Vocabulary, noise: Noise, salt: str
    ) -> Corrupted:
        """Corrupt the selected positions of ids_BL (int64); salt names this draw in `noise`."""


def unselect_special(ids_BL: Tensor, selected_BL: Tensor, vocabulary: Vocabulary) -> Tensor:
    """The selection without [PAD] [UNK] [CLS] [SEP] [MASK]."""
    return selected_BL & ~vocabulary.special_V[ids_BL]


def label_selected(ids_BL: Tensor, selected_BL: Tensor) -> Tensor:
    """The original ids where selected, -100 elsewhere."""
    return torch.where(selected_BL, ids_BL, IGNORED)
