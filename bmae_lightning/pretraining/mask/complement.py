"""What the encoder could see, the decoder must recover: MASTER's complementary mask prediction.

The policy draws nothing; it inverts the selection of the encoder's view of the same text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bmae_lightning.pretraining.mask.policy import MaskPolicy, MaskRequest

if TYPE_CHECKING:
    from torch import Tensor


class ComplementMask(MaskPolicy):
    """Selects exactly the non-special positions that the encoder's view of the same text did not select.

    Every row is this one mask. Raises BadInput where the decoder's text is not that of its view.
    Relations: `SupersetMask` is the opposite relation (all that the encoder's view selected, and more).
    """

    relative = True

    def select(self, request: MaskRequest) -> Tensor:
        return request.in_every_row(request.content_BL & ~request.encoder_selection("complement"))
