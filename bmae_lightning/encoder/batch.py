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


def pad_rows(
    rows: Sequence[np.ndarray],
    *,
    cls_id: int,
    sep_id: int,
    pad_id: int,
    max_length: int,
    values: Mapping[str, Sequence[np.ndarray]] | None = None,
) -> Tokens:
    """Rows of content ids as Tokens: cut from the right to max_length - 2, [CLS] and [SEP] added, padded alike.

    rows: integer arrays [N_b] without special tokens; an empty row becomes `[CLS] [SEP]`.  values: name -> one array
    [N_b] per row, cut and padded (by 0) as the ids are, in float32.
    """
    if max_length < 3:
        raise ValueError(f"max_length must leave room for [CLS], a token and [SEP] (at least 3), got {max_length}")
    if not rows:
        raise ValueError("pad_rows needs at least one row")
    size_B = np.fromiter(map(len, rows), dtype=np.int64, count=len(rows))
    flat = {name: np.concatenate(numbers) for name, numbers in (values or {}).items()}
    return cut_rows(
        np.concatenate(rows), size_B.cumsum() - size_B, size_B.clip(max=max_length - 2),
        cls_id=cls_id, sep_id=sep_id, pad_id=pad_id, values=flat,
    )  # fmt: skip


def cut_rows(
    flat: np.ndarray,
    start_B: np.ndarray,
    size_B: np.ndarray,
    *,
    cls_id: int,
    sep_id: int,
    pad_id: int,
    values: Mapping[str, np.ndarray] | None = None,
) -> Tokens:
    """Pieces of one long array of content ids as Tokens, [CLS] and [SEP] added, padded alike.

    flat: ids of all texts, which may lie on disk.  start_B, size_B: int64, where each text begins and how many ids it
    has.  values: name -> array aligned with flat, padded by 0, in float32.
    """
    position_L = np.arange(int(size_B.max()) + 2)
    place_BL = (start_B - 1)[:, None] + position_L
    last_B1 = size_B[:, None]
    ids_BL = _take(flat, place_BL, np.int64)
    ids_BL[position_L > last_B1] = pad_id
    ids_BL[:, 0] = cls_id
    ids_BL[np.arange(len(size_B)), size_B + 1] = sep_id
    real_BL = position_L <= last_B1 + 1
    padded = {}
    for name, numbers in (values or {}).items():
        value_BL = _take(numbers, place_BL, np.float32)
        value_BL[position_L > last_B1] = 0
        value_BL[:, 0] = 0
        padded[name] = torch.from_numpy(value_BL)
    return Tokens(torch.from_numpy(ids_BL), torch.from_numpy(real_BL), padded)


def _take(flat: np.ndarray, place_BL: np.ndarray, dtype: type) -> np.ndarray:
    """flat at the places, anything at places outside."""
    return flat.take(place_BL, mode="clip").astype(dtype) if len(flat) else np.zeros(place_BL.shape, dtype)


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
