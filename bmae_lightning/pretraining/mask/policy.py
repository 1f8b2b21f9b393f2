"""What a mask is: a policy that chooses the positions to mask, anew for every epoch, passage and row.

The encoder's view asks for one mask per passage; enhanced decoding asks for one per position (`rows`).
Shapes: B passages, R rows (masks per passage), L positions, G some of the passages.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from bmae_lightning.runtime.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

    from bmae_lightning.encoder.batch import Tokens
    from bmae_lightning.encoder.vocabulary import Vocabulary
    from bmae_lightning.pretraining.noise import Noise


@dataclass(frozen=True)
class MaskRequest:
    """The texts that a policy is to mask, and which draw it is to make.

    tokens, vocabulary: the texts, and what is known of their ids.  noise: of their passages.  salt: names this draw.
    rows: R, how many masks each passage gets, independent of each other.
    others: row r is for token r: a sample of the other tokens but [CLS], with [SEP] one of them (RetroMAE Eq. 7).
    reference_BL: what the encoder's view selected in the same text (bool); None where the texts differ.
    """

    tokens: Tokens
    vocabulary: Vocabulary
    noise: Noise
    salt: str
    rows: int = 1
    reference_BL: Tensor | None = None
    others: bool = False

    @property
    def key_B(self) -> Tensor:
        """64 random bits per passage (int64), from which the numbers of this draw are made."""
        return self.noise.keys(self.salt)

    def uniform(self) -> Tensor:
        """Independent numbers in (0, 1), one for each row and position [B, R, L]."""
        return self.noise.uniform(self.salt, self.tokens.ids_BL.shape[1], self.rows)

    @property
    def length_B(self) -> Tensor:
        """Tokens of each text, [CLS] and [SEP] included."""
        return self.tokens.real_BL.sum(1)

    @property
    def content_BL(self) -> Tensor:
        """Where the tokens are neither special nor padding."""
        return self.tokens.real_BL & ~self.vocabulary.is_special(self.tokens.ids_BL)

    def values(self, name: str, mask: str) -> Tensor:
        """The numbers [B, L] that come with the texts under this name; BadInput, which names the mask, without them."""
        if name not in self.tokens.values:
            raise BadInput(
                f"the {mask} mask found no {name!r} values with its text; they come from the statistics stage, add it "
                "to the stages before pre-training"
            )
        return self.tokens.values[name]

    def encoder_selection(self, mask: str) -> Tensor:
        """reference_BL; BadInput, which names the mask, without it."""
        if self.reference_BL is None:
            raise BadInput(
                f"the {mask} mask relates to what the encoder's view selected in the same text, but there is no such "
                "view here; give the decoder the stream and span of its view, or choose another mask"
            )
        return self.reference_BL

    def in_every_row(self, mask_BL: Tensor) -> Tensor:
        """One mask as all R masks of its passage: [B, R, L] of mask_BL [B, L]."""
        return mask_BL[:, None].expand(-1, self.rows, -1)

    def part(self, index_G: Tensor | slice, length: int) -> MaskRequest:
        """The request for some of the passages, cut to a length."""

        def cut(tensor_BL: Tensor) -> Tensor:
            part_BL = tensor_BL[:, :length]
            return part_BL[index_G] if isinstance(index_G, slice) else part_BL.index_select(0, index_G)

        reference_GL = None if self.reference_BL is None else cut(self.reference_BL)
        return replace(self, tokens=self.tokens.map(cut), noise=self.noise.of(index_G), reference_BL=reference_GL)


class MaskPolicy(ABC):
    """Chooses the positions to mask. One file per policy; a policy with tensors may also be an nn.Module.

    relative: whether it relates to the selection of the encoder's view (`reference_BL`) and cannot do without.
    values: names of the `Tokens.values` that it reads.
    """

    relative = False
    values: tuple[str, ...] = ()

    @abstractmethod
    def select(self, request: MaskRequest) -> Tensor:
        """True at selected positions: bool [B, R, L]."""

    def selectable(self, request: MaskRequest) -> Tensor:
        """Positions that some draw selects: bool [B, L]; `reference_BL` holds those of the encoder's mask.

        All that are not special, unless a policy says otherwise.
        """
        return request.content_BL


def check_rate(rate: float) -> None:
    """Raise ValueError unless rate is a share of tokens to mask, above 0 and below 1."""
    if not 0 < rate < 1:
        raise ValueError(f"mask rate must lie in (0, 1), got {rate}")
