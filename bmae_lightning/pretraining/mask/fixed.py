"""Nothing or everything: the encoder of an auto-encoder sees the whole text, its decoder none of it (SimLM Table 7)."""

from torch import Tensor

from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.mask.policy import MaskPolicy
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.runtime.checks import choice

SELECT = ("everything", "nothing")


class FixedMask(MaskPolicy):
    """Selects 'everything' that is not a special token, or 'nothing'."""

    def __init__(self, select: str):
        choice(SELECT, select=select)
        self.everything = select == "everything"

    def select(
        self,
        tokens: Tokens,
        vocabulary: Vocabulary,
        noise: Noise,
        salt: str,
        rows: int | None = None,
        reference_BL: Tensor | None = None,
    ) -> Tensor:
        mask_BL = tokens.real_BL & ~vocabulary.is_special(tokens.ids_BL) & self.everything
        return mask_BL if rows is None else mask_BL[:, None].expand(-1, rows, -1)
