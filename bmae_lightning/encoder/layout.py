"""How the tokens of a batch lie in memory: real tokens only, one after the other, or padded to one length.

Every token-level operation of encoder and decoders runs on the rows [R, T, ...] of a layout: [1, real tokens] packed,
[B, L] padded. Only attention needs to know which rows are one text; it comes here, through transformers' registry.
Packed and padded rows give the same numbers (up to rounding); at real lengths half of all padded positions are waste.
Shapes: B texts, L positions, G texts of a group, H heads, d width of a head, R x T rows.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS, sdpa_mask
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from bmae_lightning.encoder import dropout as cheap

ATTENTION = "layout"
"""The name of `attention` in transformers' registry."""
GROUPS = 4


class Layout(ABC):
    """Rows of a batch of texts.  real_BL: bool, False on padding; slot 0 always counts as real.

    position_RT: place of each row in its text, int64, perhaps to be broadcast.  mask_BL, mask_B11L: the attention masks
    of whole models and of single layers of transformers, None where none is needed.  options: what both pass on to
    `attention`.
    """

    position_RT: Tensor
    mask_BL: Tensor | None = None
    mask_B11L: Tensor | None = None

    def __init__(self, real_BL: Tensor) -> None:
        first_L = torch.arange(real_BL.shape[1], device=real_BL.device) == 0
        self.real_BL = real_BL | first_L
        self.options: dict[str, Any] = {}

    @abstractmethod
    def pack(self, x_BLX: Tensor) -> Tensor:
        """Rows [R, T, ...] of x [B, L, ...]."""

    @abstractmethod
    def unpack(self, x_RTX: Tensor) -> Tensor:
        """x [B, L, ...] of rows [R, T, ...]; what stands at padding has no meaning."""

    @abstractmethod
    def with_first(self, x_RTD: Tensor, first_BD: Tensor) -> Tensor:
        """Rows with those of slot 0 replaced."""

    @abstractmethod
    def spread(self, x_BD: Tensor) -> Tensor:
        """The vector of its text for every row, [R, T, D]."""

    @abstractmethod
    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, dropout: float = 0.0, scale: float | None = None,
        visible_BLL: Tensor | None = None, window: int | None = None,
    ) -> Tensor:  # fmt: skip
        """Scaled dot-product attention inside each text, [R, T, H d] of rows [R, H, T, d].

        visible_BLL: keys (last axis) that each row may see, at least one each; None: all real ones.  window: keys
        further away are not seen.
        """


class Padded(Layout):
    """The texts as they come, all padded to the longest."""

    def __init__(self, real_BL: Tensor) -> None:
        super().__init__(real_BL)
        self.position_RT = torch.arange(real_BL.shape[1], device=real_BL.device)[None]
        self.mask_BL, self.mask_B11L = real_BL.long(), self.real_BL[:, None, None]

    def pack(self, x_BLX: Tensor) -> Tensor:
        return x_BLX

    def unpack(self, x_RTX: Tensor) -> Tensor:
        return x_RTX

    def with_first(self, x_RTD: Tensor, first_BD: Tensor) -> Tensor:
        return torch.cat([first_BD[:, None].to(x_RTD.dtype), x_RTD[:, 1:]], dim=1)

    def spread(self, x_BD: Tensor) -> Tensor:
        return x_BD[:, None].expand(-1, self.real_BL.shape[1], -1)

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, dropout: float = 0.0, scale: float | None = None,
        visible_BLL: Tensor | None = None, window: int | None = None,
    ) -> Tensor:  # fmt: skip
        mask = self.mask_B11L if visible_BLL is None else visible_BLL[:, None]
        if window is not None:
            mask = mask & near(query.shape[2], window, query.device)
        mixed = mix(query, key, value, mask, dropout, scale)
        return mixed.transpose(1, 2).flatten(2)


class Group(NamedTuple):
    """Texts of similar length, cut to the longest of them, with `count` real tokens.

    text_G: which ones.  real_GL: their real positions.  place_N: these as places in [G L], None where all are real.
    """

    text_G: Tensor
    real_GL: Tensor
    place_N: Tensor | None
    count: int

    def pad(self, x_NHd: Tensor) -> Tensor:
        """[G, H, L, d] of the group's rows, 0 at padding."""
        if self.place_N is not None:
            x_NHd = x_NHd.new_zeros(self.real_GL.numel(), *x_NHd.shape[1:]).index_copy(0, self.place_N, x_NHd)
        return x_NHd.unflatten(0, self.real_GL.shape).transpose(1, 2)


class Packed(Layout):
    """Real tokens only; attention runs in a few groups of texts of similar length.

    groups: shortest texts first.
    """

    def __init__(self, real_BL: Tensor, groups: int = GROUPS) -> None:
        super().__init__(real_BL)
        size_B = self.real_BL.sum(1)
        length = real_BL.shape[1]
        self.groups: list[Group] = []
        rows = []
        for text_G in size_B.argsort(stable=True).tensor_split(min(groups, len(size_B))):
            longest = int(size_B[text_G[-1]])
            real_GL = self.real_BL[text_G, :longest]
            rows.append((text_G[:, None] * length + torch.arange(longest, device=text_G.device))[real_GL])
            place_N = None if len(rows[-1]) == real_GL.numel() else real_GL.flatten().nonzero()[:, 0]
            self.groups.append(Group(text_G, real_GL, place_N, len(rows[-1])))
        self.row_T = torch.cat(rows)
        self.text_T = self.row_T // length
        self.position_RT = (self.row_T % length)[None]
        self.first_B = torch.empty_like(size_B)
        first_T = (self.position_RT[0] == 0).nonzero()[:, 0]
        self.first_B[self.text_T[first_T]] = first_T
        self.options = {"layout": self}

    def pack(self, x_BLX: Tensor) -> Tensor:
        return x_BLX.flatten(0, 1).index_select(0, self.row_T)[None]

    def unpack(self, x_RTX: Tensor) -> Tensor:
        """Zeros stand at padding."""
        rows = x_RTX[0]
        batch, length = self.real_BL.shape
        empty = rows.new_zeros(batch * length, *rows.shape[1:])
        return empty.index_copy(0, self.row_T, rows).unflatten(0, (batch, length))

    def with_first(self, x_RTD: Tensor, first_BD: Tensor) -> Tensor:
        return x_RTD.index_copy(1, self.first_B, first_BD[None].to(x_RTD.dtype))

    def spread(self, x_BD: Tensor) -> Tensor:
        return x_BD.index_select(0, self.text_T)[None]

    def attend(
        self, query: Tensor, key: Tensor, value: Tensor, dropout: float = 0.0, scale: float | None = None,
        visible_BLL: Tensor | None = None, window: int | None = None,
    ) -> Tensor:  # fmt: skip
        counts = [group.count for group in self.groups]
        parts = zip(*(x[0].transpose(0, 1).split(counts) for x in (query, key, value)), strict=True)
        made = []
        for group, rows in zip(self.groups, parts, strict=True):
            longest = group.real_GL.shape[1]
            mask = None if group.place_N is None else group.real_GL[:, None, None]
            if visible_BLL is not None:
                mask = visible_BLL[group.text_G, :longest, :longest][:, None]
            if window is not None and window < longest:
                band = near(longest, window, query.device)
                mask = band if mask is None else mask & band
            mixed = mix(*map(group.pad, rows), mask, dropout, scale).transpose(1, 2).flatten(0, 1).flatten(1)
            made.append(mixed if group.place_N is None else mixed.index_select(0, group.place_N))
        return torch.cat(made)[None]


@contextmanager
def packed_stack(stack: nn.Module, real_BL: Tensor) -> Iterator[None]:
    """In this block `stack`, the layers of a model of transformers, reads packed rows of the states that it is given.

    What comes before and after it in the model sees [B, L, D].  The attention of the model must be ATTENTION.
    """
    layout = Packed(real_BL)

    def pack(module: nn.Module, given: tuple, named: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        states_BLD, *rest = given or (named.pop("hidden_states"),)
        return (layout.pack(states_BLD), *rest), named | {"attention_mask": None} | layout.options

    def unpack(module: nn.Module, given: tuple, output: Any) -> Any:
        output.last_hidden_state = layout.unpack(output.last_hidden_state)
        return output

    hooks = stack.register_forward_pre_hook(pack, with_kwargs=True), stack.register_forward_hook(unpack)
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def mix(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, dropout: float, scale: float | None) -> Tensor:
    """Scaled dot-product attention [B, H, L, d]; on a CPU, which has no kernel with dropout, with cheap dropout.

    A padding row may see nothing, far from the text in a local layer: what it holds is finite and of no account.
    """
    if not dropout or not query.is_cpu or torch.compiler.is_compiling():
        return scaled_dot_product_attention(query, key, value, attn_mask=mask, dropout_p=dropout, scale=scale)
    scale = query.shape[-1] ** -0.5 if scale is None else scale
    scores = (query * scale) @ key.transpose(2, 3)
    if mask is not None:
        scores = scores.masked_fill_(~mask, torch.finfo(scores.dtype).min)
    return cheap.dropout(scores.softmax(-1), dropout) @ value


def near(length: int, window: int, device: torch.device) -> Tensor:
    """Pairs of positions at most `window` apart, bool [length, length]."""
    position_L = torch.arange(length, device=device)
    return (position_L[:, None] - position_L).abs() <= window


@torch.compiler.disable
def attention(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None,
    dropout: float = 0.0, scaling: float | None = None, layout: Layout | None = None,
    sliding_window: int | None = None, **options: Any,
) -> tuple[Tensor, None]:  # fmt: skip
    """What layers of transformers call: inside each text of a packed layout, else as transformers' "sdpa"."""
    if layout is None:
        return sdpa_attention_forward(module, query, key, value, attention_mask, dropout, scaling, **options)
    window = None if sliding_window is None else sliding_window - 1  # transformers counts the token itself
    return layout.attend(query, key, value, dropout, scaling, window=window), None


ALL_ATTENTION_FUNCTIONS.register(ATTENTION, attention)
ALL_MASK_ATTENTION_FUNCTIONS.register(ATTENTION, sdpa_mask)
