"""Telling words are masked more often: MASTER's masked keyword prediction, weighted sampling without replacement.

Every word arrives after an exponential time of its weight as rate, and the first to arrive are taken; this is the
released code's repeated weighted drawing, exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bmae_lightning.pretraining.mask.policy import MaskPolicy, MaskRequest, check_rate
from bmae_lightning.pretraining.mask.words import budget, first_pieces, group_words, race_words

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class KeywordMask(MaskPolicy):
    """Takes whole words by weight until round(rate * N) pieces are covered, N counting no special token.

    The last word is taken whole, so up to its length - 1 more pieces are selected; special tokens never are.
    rate: share in (0, 1).  value: name of the values of `Tokens` whose number at a word's first piece is the natural
    logarithm of its weight (-ln of its frequency in the corpus, as released).  `select` raises BadInput without them.
    Relations: with equal weights it is `UniformMask` with the fill 'overshoot'; `ImportanceMask` orders words by a
    number and noise, and keeps to the budget.
    """

    rate: float
    value: str = "keyword_weight"

    def __post_init__(self) -> None:
        check_rate(self.rate)

    @property
    def values(self) -> tuple[str]:
        return (self.value,)

    def select(self, request: MaskRequest) -> Tensor:
        from bmae_lightning.pretraining.noise import widest_float

        value_BL = request.values(self.value, "keyword")
        words = group_words(request.tokens, request.vocabulary, request.vocabulary.special_V)
        log_weight_BW = first_pieces(words, value_BL).to(widest_float(value_BL.device))
        return race_words(request, words, log_weight_BW, budget(words.size_BW.sum(1), self.rate))
