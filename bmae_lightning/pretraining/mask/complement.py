"""What the encoder could see, the decoder must recover: MASTER's complementary mask prediction.

The policy draws nothing; it inverts the selection of the encoder's view of the same text.
"""

from torch import Tensor

from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.mask.policy import MaskPolicy, encoder_selection
from bmae_lightning.pretraining.noise import Noise


class ComplementMask(MaskPolicy):
    """Selects exactly the non-special positions that the encoder's view of the same text did not select.

    Raises BadInput where the decoder's text is not that of its view. With rows, every row is this one mask.
    """

    relative = True

    def select(
        self,
        tokens: Tokens,
        vocabulary: Vocabulary,
        noise: Noise,
        salt: str,
        rows: int | None = None,
        reference_BL: Tensor | None = None,
    ) -> Tensor:
        selected_BL = encoder_selection(reference_BL, "complement")
        mask_BL = tokens.real_BL & ~vocabulary.is_special(tokens.ids_BL) & ~selected_BL
        return mask_BL if rows is None else mask_BL[:, None].expand(-1, rows, -1)
