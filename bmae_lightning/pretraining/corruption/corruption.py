"""What becomes of the selected positions, and the rule all share: special ids are neither changed nor labelled.

Shapes: B passages, L positions, V vocabulary.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from bmae_lightning.encoder.vocabulary import Vocabulary
    from bmae_lightning.pretraining.generator.generator import Generator
    from bmae_lightning.pretraining.loss.vocabulary import TokenLoss
    from bmae_lightning.pretraining.noise import Noise


@dataclass(frozen=True)
class Corrupted:
    """ids_BL: the corrupted text.  labels_BL: ids to predict, else -100.  selected_BL: positions that may change.

    loss: of a network that the corruption trains, if it does.
    """

    ids_BL: Tensor
    labels_BL: Tensor
    selected_BL: Tensor
    loss: TokenLoss | None = None


class Corruption(ABC):
    """One file per corruption.  generates: whether it asks the model's generator."""

    generates = False

    def bind(self, generator: Generator | None) -> None:  # noqa: B027  most need none
        """Take the model's generator, for corruptions that ask one."""

    @abstractmethod
    def corrupt(
        self, ids_BL: Tensor, selected_BL: Tensor, vocabulary: Vocabulary, noise: Noise, salt: str
    ) -> Corrupted:
        """Corrupt the selected positions of ids_BL (int64); salt names this draw in `noise`."""


def unselect_special(ids_BL: Tensor, selected_BL: Tensor, vocabulary: Vocabulary) -> Tensor:
    """The selection without [PAD] [UNK] [CLS] [SEP] [MASK]."""
    return selected_BL & ~vocabulary.is_special(ids_BL)


def label_selected(ids_BL: Tensor, selected_BL: Tensor) -> Tensor:
    """The original ids where selected, -100 elsewhere."""
    import torch

    from bmae_lightning.pretraining.loss.vocabulary import IGNORED

    return torch.where(selected_BL, ids_BL, IGNORED)
