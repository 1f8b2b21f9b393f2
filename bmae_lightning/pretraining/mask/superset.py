"""The encoder's selection and more: SimLM's decoder mask, a superset of its encoder mask.

A second whole-word draw over all words at the rate (p_dec - p_enc) / (1 - p_enc) brings the union to p_dec.
"""

from torch import Tensor

from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.mask.policy import MaskPolicy, budget, check_fill, draw_words, encoder_selection
from bmae_lightning.pretraining.noise import Noise

NEGLIGIBLE = 1e-4


class SupersetMask(MaskPolicy):
    """Selects what the encoder's view of the same text selected, and words of an independent draw.

    rate: expected share in (0, 1] of the union.  encoder_rate: share that the encoder's mask aims at, at most rate.
    fill: see `select_words`.  Select raises BadInput where the decoder's text is not that of its view.
    """

    relative = True

    def __init__(self, rate: float, encoder_rate: float, fill: str = "exact"):
        if not 0 < encoder_rate < 1:
            raise ValueError(f"encoder_rate must lie in (0, 1), got {encoder_rate}")
        if not 0 < rate <= 1:
            raise ValueError(f"mask rate must lie in (0, 1], got {rate}")
        if rate < encoder_rate:
            raise ValueError(
                f"mask rate {rate} is below encoder_rate {encoder_rate}, but this mask holds all that the encoder's "
                "does; raise rate or lower the rate of the encoder's mask"
            )
        self.extra = (rate - encoder_rate) / (1 - encoder_rate)
        self.fill = check_fill(fill)

    def select(
        self,
        tokens: Tokens,
        vocabulary: Vocabulary,
        noise: Noise,
        salt: str,
        rows: int | None = None,
        reference_BL: Tensor | None = None,
    ) -> Tensor:
        selected_BL = encoder_selection(reference_BL, "superset")
        if rows is not None:
            selected_BL = selected_BL[:, None].expand(-1, rows, -1)
        if self.extra <= NEGLIGIBLE:
            return selected_BL
        room_B = budget(tokens.real_BL.sum(1), self.extra)
        return selected_BL | draw_words(tokens, vocabulary, noise, salt, room_B, self.fill, rows)
