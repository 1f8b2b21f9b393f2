"""Important words are masked more often: CDMAE's Algorithm 1, the highest importance plus Gaussian noise.

Single pieces, as the algorithm is written; whole words, as all related methods mask them, with `unit`.
Shapes: B passages, L positions, W word slots (= L), R rows (masks per passage).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bmae_lightning.corpus.statistics.words import UNITS
from bmae_lightning.pretraining.mask.policy import MaskPolicy, MaskRequest, check_rate
from bmae_lightning.pretraining.mask.words import Words, first_pieces, fitting, group_words, select_words
from bmae_lightning.runtime.checks import choice
from bmae_lightning.runtime.shares import exact

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ImportanceMask(MaskPolicy):
    """Takes pieces, or whole words, in falling score up to floor(rate * N) of the N pieces that are not special.

    score: importance + sigma * N(0, 1), one draw each; ties are broken at random, a word that does not fit is skipped,
    at least one piece may be taken. The encoder's selection plays no part.
    rate: share in (0, 1).  sigma: of the noise, at least 0.  sigma_relative: multiply it by the standard deviation of
    the importance of the words of this text.  unit: 'piece' draws and takes pieces one by one, 'word' whole words.
    value: name of the values of `Tokens` to read, at a word's first piece.  `select` raises BadInput without them.
    Relations: a large sigma makes it `UniformMask` with a budget over content alone; `KeywordMask` samples by weight.
    """

    rate: float
    sigma: float = 1.0
    sigma_relative: bool = False
    unit: str = "piece"
    value: str = "importance"

    def __post_init__(self) -> None:
        check_rate(self.rate)
        if not 0 <= self.sigma < math.inf:
            raise ValueError(f"sigma must be at least 0 and finite, got {self.sigma}")
        choice(UNITS, unit=self.unit)

    @property
    def values(self) -> tuple[str]:
        return (self.value,)

    def select(self, request: MaskRequest) -> Tensor:
        import torch

        value_BL, words = request.values(self.value, "importance"), self._words(request)
        uniform_BRW = request.uniform()
        importance_BW = first_pieces(words, value_BL.to(uniform_BRW.dtype))
        sigma = self.sigma
        if self.sigma_relative:
            sigma = sigma * deviation(importance_BW, words.size_BW > 0)[:, None]
        score_BRW = importance_BW[:, None] + sigma * math.sqrt(2) * torch.erfinv(2 * uniform_BRW - 1)
        priority_BRW = score_BRW if self.sigma else rank(score_BRW, uniform_BRW)  # noise leaves no ties
        return select_words(words, priority_BRW, self._budget(words))

    def selectable(self, request: MaskRequest) -> Tensor:
        words = self._words(request)
        return fitting(words, self._budget(words))

    def _words(self, request: MaskRequest) -> Words:
        return group_words(request.tokens, request.vocabulary, request.vocabulary.special_V, self.unit)

    def _budget(self, words: Words) -> Tensor:
        """Pieces to select [B]."""
        share = exact(self.rate)
        return (words.size_BW.sum(1) * share.numerator // share.denominator).clamp(min=1)


def deviation(value_BW: Tensor, used_BW: Tensor) -> Tensor:
    """Standard deviation [B, 1] of the used values, 1 where they are all the same and only the noise orders them."""
    count_B1 = used_BW.sum(1, keepdim=True).clamp(min=1)
    mean_B1 = value_BW.masked_fill(~used_BW, 0).sum(1, keepdim=True) / count_B1
    square_BW = (value_BW - mean_B1).masked_fill(~used_BW, 0) ** 2
    deviation_B1 = (square_BW.sum(1, keepdim=True) / count_B1).sqrt()
    highest_B1 = value_BW.masked_fill(~used_BW, -math.inf).amax(1, keepdim=True)
    lowest_B1 = value_BW.masked_fill(~used_BW, math.inf).amin(1, keepdim=True)
    return deviation_B1.masked_fill(highest_B1 <= lowest_B1, 1)


def rank(score: Tensor, tie: Tensor) -> Tensor:
    """The place of every score, the lowest being 0; equal scores are ordered by tie. All [..., W]."""
    import torch

    by_tie = tie.argsort(dim=-1)
    order = by_tie.gather(-1, score.gather(-1, by_tie).argsort(dim=-1, stable=True))
    position_W = torch.arange(score.shape[-1], device=score.device, dtype=tie.dtype)
    return torch.empty_like(tie).scatter_(-1, order, position_W.expand(score.shape))
