"""Nothing or everything: the encoder of an auto-encoder sees the whole text, its decoder none of it (SimLM Table 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmae_lightning.pretraining.mask.policy import MaskPolicy, MaskRequest
from bmae_lightning.runtime.checks import choice

if TYPE_CHECKING:
    from torch import Tensor

SELECT = ("everything", "nothing")


class FixedMask(MaskPolicy):
    """Selects 'everything' that is not a special token, or 'nothing'.

    Relations: the ends of `UniformMask`, whose rate lies between 0 and 1.
    """

    def __init__(self, select: str):
        choice(SELECT, select=select)
        self.everything = select == "everything"

    def select(self, request: MaskRequest) -> Tensor:
        return request.in_every_row(request.content_BL & self.everything)
