"""What data workers hand to the model: uncorrupted token ids of one or several streams, and which passage a row is.

Masks and corruption are made from these on the device, inside the model; a batch holds no labels.
Shapes: B passages, L padded length including [CLS] and [SEP].
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Self

import numpy as np
import torch
from torch import Tensor


class Tensors:
    """A dataclass of tensors, mappings of them, other such records, and anything else, which is left as it is."""

    def map(self, function: Callable[[Tensor], Tensor]) -> Self:
        """The same record with function applied to every tensor."""

        def over(value):
            if isinstance(value, Mapping):
                return {name: over(part) for name, part in value.items()}
            if isinstance(value, Tensors):
                return value.map(function)
            return function(value) if isinstance(value, Tensor) else value

        return type(self)(*(over(getattr(self, part.name)) for part in fields(self)))

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Self:
        return self.map(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Self:
        return self.map(lambda tensor: tensor.pin_memory())


@dataclass(frozen=True)
class Tokens(Tensors):
    """`[CLS] x_1 .. x_N [SEP] [PAD] ..` of B texts.

    ids_BL: int64.  real_BL: bool, False on padding.  values: optional numbers [B, L] per position that a mask policy
    reads by name (for instance an importance score).
    """

    ids_BL: Tensor
    real_BL: Tensor
    values: Mapping[str, Tensor] = field(default_factory=dict)

    def segments(self, sep_id: int) -> Tensor:
        """Token types: 1 at real positions behind the first [SEP], 0 elsewhere, int64 [B, L]."""
        separator_BL = self.ids_BL == sep_id
        return ((separator_BL.cumsum(1) - separator_BL.long() > 0) & self.real_BL).long()

    def without(self, place_B: Tensor, pad_id: int) -> Tokens:
        """The texts without one position each, counted from 0; a place behind the end leaves a text as it is."""
        length = self.ids_BL.shape[1]
        position_L = torch.arange(length)
        from_BL = position_L + (position_L >= place_B[:, None])
        real_BL = (from_BL < length) & self.real_BL.gather(1, from_BL.clamp(max=length - 1))
        longest = int(real_BL.sum(1).max())

        def moved(numbers_BL: Tensor, padding: float) -> Tensor:
            return numbers_BL.gather(1, from_BL.clamp(max=length - 1)).where(real_BL, padding)[:, :longest]

        values = {name: moved(value_BL, 0.0) for name, value_BL in self.values.items()}
        return Tokens(moved(self.ids_BL, pad_id), real_BL[:, :longest], values)


@dataclass(frozen=True)
class TextBatch(Tensors):
    """B passages: their streams (texts that belong to the passage; 'passage' is the text itself), number and epoch.

    passage_B: int64, number of the passage in its corpus.  epoch_B: int64, how often it has been seen before.
    """

    streams: Mapping[str, Tokens]
    passage_B: Tensor
    epoch_B: Tensor

    def first(self, count: int) -> TextBatch:
        """Only the first passages."""
        return self.map(lambda tensor: tensor[:count])


@dataclass(frozen=True)
class RetrievalBatch(Tensors):
    """B queries with n passages each, in the order i·n + j, the positive of query i at i·n.

    passage_N: int64 numbers of the passages.  positives_BP: those of all positives of each query, filled with -1; both
    are None where no loss reads them.  teacher_Bn: a teacher's raw scores of each query's own passages, or None.
    """

    queries: Tokens
    passages: Tokens
    passage_N: Tensor | None = None
    positives_BP: Tensor | None = None
    teacher_Bn: Tensor | None = None


@dataclass(frozen=True)
class Pairs(Tensors):
    """`[CLS] query [SEP] passage [SEP] [PAD] ..` of P pairs: ids, real positions (bool) and token types, each [P, L].

    types_PL: 0 up to the passage, 1 for it and its [SEP].
    """

    ids_PL: Tensor
    real_PL: Tensor
    types_PL: Tensor

    def __len__(self) -> int:
        return len(self.ids_PL)


def pad_pairs(
    queries: Sequence[np.ndarray], passages: Sequence[np.ndarray], *, cls_id: int, sep_id: int, pad_id: int,
    max_length: int, separators: int = 1,
) -> Pairs:  # fmt: skip
    """Pairs of rows of content ids as `Pairs`, at most max_length ids with [CLS] and all [SEP].

    The passage is cut from the right; the query only where it would leave the passage no id at all.
    separators: how many [SEP] stand between query and passage.

    Raises:
        ValueError: no rows, as many of one as not of the other, or no room for an id of each.
    """
    room = max_length - separators - 2
    if room < 2:
        raise ValueError(
            f"max_length must leave room for [CLS], every [SEP] and two ids (at least {separators + 4}), "
            f"got {max_length}"
        )
    if not queries or len(queries) != len(passages):
        raise ValueError(f"pad_pairs needs pairs, got {len(queries)} queries and {len(passages)} passages")
    rows, breaks = [], []
    for query, passage in zip(queries, passages, strict=True):
        query = query[: room - min(1, len(passage))]
        between = [sep_id] * separators
        rows.append(np.concatenate([[cls_id], query, between, passage[: room - len(query)], [sep_id]]))
        breaks.append(len(query) + 1 + separators)
    size_P = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))[:, None]
    position_L = np.arange(int(size_P.max()))
    ids_PL = np.full((len(rows), len(position_L)), pad_id, dtype=np.int64)
    ids_PL[position_L < size_P] = np.concatenate(rows)
    types_PL = (position_L >= np.array(breaks)[:, None]) & (position_L < size_P)
    return Pairs(*map(torch.from_numpy, (ids_PL, position_L < size_P, types_PL.astype(np.int64))))
