"""Every word is equally likely: whole-word masking of BERT, the encoder mask of all five methods.

RetroMAE's enhanced decoding samples the same policy once per position.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from bmae_lightning.corpus.statistics.words import UNITS
from bmae_lightning.pretraining.mask.policy import MaskPolicy, MaskRequest, check_rate
from bmae_lightning.pretraining.mask.words import budget, check_fill, draw_words, drawable
from bmae_lightning.runtime.checks import choice

if TYPE_CHECKING:
    from torch import Tensor

SPECIALS = ("count", "skip")


@dataclass(frozen=True)
class UniformMask(MaskPolicy):
    """Selects shuffled whole words up to round(rate * T) pieces.

    rate: share in (0, 1).  fill: 'exact' skips a word that does not fit, 'prefix' ends there (see `select_words`).
    specials: 'count' lets T include [CLS] and [SEP] and [UNK] be a word (BERT), 'skip' neither (MASTER; its inner
    [SEP] stays part of T).  unit: 'piece' takes pieces one by one.  Where `others` are asked for, [SEP] is a word, T
    leaves out [CLS] and the row's own token, and a word that this token is part of counts without it.
    Relations: `KeywordMask` with equal weights draws as this mask with the fill 'overshoot'; `ImportanceMask`
    approaches it as sigma grows; `FixedMask` is rate 0 and 1.
    """

    rate: float
    fill: str = "exact"
    specials: str = "count"
    unit: str = "word"

    def __post_init__(self) -> None:
        check_rate(self.rate)
        check_fill(self.fill)
        choice(SPECIALS, specials=self.specials)
        choice(UNITS, unit=self.unit)

    def select(self, request: MaskRequest) -> Tensor:
        return draw_words(request, self._budget(request), self.fill, self._skipped(request), self.unit)

    def selectable(self, request: MaskRequest) -> Tensor:
        return drawable(request, self._budget(request), self.fill, self._skipped(request), self.unit)

    def _budget(self, request: MaskRequest) -> Tensor:
        return budget(request.length_B - 2 * (self.specials == "skip" or request.others), self.rate)

    def _skipped(self, request: MaskRequest) -> Tensor:
        import torch

        known = request.vocabulary
        skip_V = known.special_V if self.specials == "skip" else known.skip_V
        if request.others:
            skip_V = skip_V & (torch.arange(known.size, device=skip_V.device) != known.sep_id)
        return skip_V
