"""Telling words are masked more often: MASTER's masked keyword prediction, weighted sampling without replacement.

Every word arrives after an exponential time of its weight as rate, and the first to arrive are taken; this is the
released code's repeated weighted drawing, exactly.
"""

from torch import Tensor

from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.pretraining.mask.policy import MaskPolicy, budget, first_pieces, group_words, race_words
from bmae_lightning.pretraining.noise import Noise, widest_float
from bmae_lightning.runtime.errors import BadInput


class KeywordMask(MaskPolicy):
    """Takes whole words by weight until round(rate * N) pieces are covered, N counting no special token.

    The last word is taken whole, so up to its length - 1 more pieces are selected; special tokens never are.
    rate: share in (0, 1).  value: name of the values of `Tokens` whose number at a word's first piece is the natural
    logarithm of its weight (-ln of its frequency in the corpus, as released).  Select raises BadInput without them.
    """

    def __init__(self, rate: float, value: str = "keyword_weight"):
        if not 0 < rate < 1:
            raise ValueError(f"mask rate must lie in (0, 1), got {rate}")
        self.rate = rate
        self.value = value
        self.values = (value,)

    def select(
        self,
        tokens: Tokens,
        vocabulary: Vocabulary,
        noise: Noise,
        salt: str,
        rows: int | None = None,
        reference_BL: Tensor | None = None,
    ) -> Tensor:
        if self.value not in tokens.values:
            raise BadInput(
                f"the keyword mask found no {self.value!r} values with its text; they come from the statistics stage, "
                "add it to the stages before pre-training"
            )
        words = group_words(tokens, vocabulary, vocabulary.special_V)
        log_weight_BW = first_pieces(words, tokens.values[self.value]).to(widest_float(tokens.ids_BL.device))
        room_B = budget(words.size_BW.sum(1), self.rate)
        return race_words(words, log_weight_BW, noise, salt, room_B, "overshoot", rows)
