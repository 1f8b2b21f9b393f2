"""The encoder's selection and more: SimLM's decoder mask, a superset of its encoder mask.

A second whole-word draw over all words at the rate (p_dec - p_enc) / (1 - p_enc) brings the union to p_dec.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bmae_lightning.pretraining.mask.policy import MaskPolicy, MaskRequest
from bmae_lightning.pretraining.mask.words import budget, check_fill, draw_words, drawable

if TYPE_CHECKING:
    from torch import Tensor

NEGLIGIBLE = 1e-4


@dataclass(frozen=True)
class SupersetMask(MaskPolicy):
    """Selects what the encoder's view of the same text selected, and words of an independent draw.

    rate: expected share in (0, 1] of the union.  encoder_rate: share that the encoder's mask aims at, at most rate.
    fill: see `select_words`.  `select` raises BadInput where the decoder's text is not that of its view.
    Relations: with rate = encoder_rate it is the encoder's own mask; `ComplementMask` is the opposite relation.
    """

    rate: float
    encoder_rate: float
    fill: str = "exact"

    relative = True

    def __post_init__(self) -> None:
        if not 0 < self.encoder_rate < 1:
            raise ValueError(f"encoder_rate must lie in (0, 1), got {self.encoder_rate}")
        if not 0 < self.rate <= 1:
            raise ValueError(f"mask rate must lie in (0, 1], got {self.rate}")
        if self.rate < self.encoder_rate:
            raise ValueError(
                f"mask rate {self.rate} is below encoder_rate {self.encoder_rate}, but this mask holds all that the "
                "encoder's does; raise rate or lower the rate of the encoder's mask"
            )
        check_fill(self.fill)

    @property
    def extra(self) -> float:
        """The rate of the second draw."""
        return (self.rate - self.encoder_rate) / (1 - self.encoder_rate)

    def select(self, request: MaskRequest) -> Tensor:
        selected_BRL = request.in_every_row(request.encoder_selection("superset"))
        if self.extra <= NEGLIGIBLE:
            return selected_BRL
        return selected_BRL | draw_words(request, budget(request.length_B, self.extra), self.fill)

    def selectable(self, request: MaskRequest) -> Tensor:
        selectable_BL = request.encoder_selection("superset")
        if self.extra <= NEGLIGIBLE:
            return selectable_BL
        return selectable_BL | drawable(request, budget(request.length_B, self.extra), self.fill)
