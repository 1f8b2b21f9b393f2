"""What the encoder itself learns from a view beside what the decoders ask of its bottleneck.

Shapes: B passages, L positions, D width.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from torch import Tensor, nn

from bmae_lightning.pretraining.loss.vocabulary import TokenLoss
from bmae_lightning.pretraining.view import MaskedText

if TYPE_CHECKING:
    from bmae_lightning.encoder.model import Encoder


class Objective(nn.Module, ABC):
    """weight: of the loss, 0 to leave it out; then views that no decoder reads are not encoded either.

    uses_head: whether it names tokens by the encoder's vocabulary head.
    """

    uses_head = True

    def __init__(self, weight: float = 1.0):
        super().__init__()
        if not 0 <= weight < float("inf"):
            raise ValueError(f"weight must be a number of at least 0, got {weight}")
        self.weight = float(weight)

    def build(self, encoder: Encoder) -> None:  # noqa: B027  most objectives own nothing
        """Make what this objective adds to the encoder."""

    @abstractmethod
    def loss(self, encoder: Encoder, hidden_BLD: Tensor, text: MaskedText) -> TokenLoss:
        """The loss of one view from the encoder's last-layer states [B, L, D]."""
