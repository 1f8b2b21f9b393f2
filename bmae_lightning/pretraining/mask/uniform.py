"""Every word is equally likely: whole-word masking of BERT, the encoder mask of all five methods.

RetroMAE's enhanced decoding samples the same policy once per position.
"""

from torch import Tensor

from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.mask.policy import MaskPolicy, budget, check_fill, draw_words
from bmae_lightning.pretraining.noise import Noise
from bmae_lightning.runtime.checks import choice

SPECIALS = ("count", "skip")


class UniformMask(MaskPolicy):
    """Selects shuffled whole words up to round(rate * T) pieces.

    rate: share in (0, 1).  fill: 'exact' skips a word that does not fit, 'prefix' ends there (see `select_words`).
    specials: 'count' lets T include [CLS] and [SEP] and [UNK] be a word (BERT), 'skip' neither (MASTER; its inner
    [SEP] stays part of T).
    """

    def __init__(self, rate: float, fill: str = "exact", specials: str = "count"):
        if not 0 < rate < 1:
            raise ValueError(f"mask rate must lie in (0, 1), got {rate}")
        self.rate = rate
        choice(SPECIALS, specials=specials)
        self.fill = check_fill(fill)
        self.specials = specials

    def select(
        self,
        tokens: Tokens,
        vocabulary: Vocabulary,
        noise: Noise,
        salt: str,
        rows: int | None = None,
        reference_BL: Tensor | None = None,
    ) -> Tensor:
        skip = self.specials == "skip"
        base_B = tokens.real_BL.sum(1) - (2 if skip else 0)
        skip_V = vocabulary.special_V if skip else None
        return draw_words(tokens, vocabulary, noise, salt, budget(base_B, self.rate), self.fill, rows, skip_V)
