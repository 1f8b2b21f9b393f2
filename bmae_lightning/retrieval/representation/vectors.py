"""The vectors of texts: a dense part and, in hybrid representations, weights of vocabulary entries.

A score is the sum of both inner products, DupMAE's Eq. 12: <q, d> = h_q · h_d + sum over i in I_d of
mu_q[i] mu_d[i].
Shapes: B texts, D dense width (0 for none), V vocabulary, K entries kept per text; Q, N rows to be scored, C of a
chunk.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from bmae_lightning.encoder.batch import Tensors
from bmae_lightning.retrieval.representation.gather import gather_with_grad

ENTRIES_AT_ONCE = 2**24
"""Vocabulary entries that kept entries are spread over at a time while scoring (64 MiB in float32)."""


@dataclass(frozen=True)
class Sparse(Tensors):
    """The kept entries of each text: indices_BK int32 (distinct within a row), values_BK; size is V."""

    indices_BK: Tensor
    values_BK: Tensor
    size: int

    def full(self) -> Tensor:
        """The same as a matrix [B, V], zero elsewhere; the gradient reaches the kept values."""
        zeros_BV = self.values_BK.new_zeros(len(self.values_BK), self.size)
        return zeros_BV.scatter(1, self.indices_BK.long(), self.values_BK)


@dataclass(frozen=True)
class Vectors(Tensors):
    """B represented texts.

    dense_BD: dense part.  lexical: None, all vocabulary entries [B, V] (queries), or the kept ones (passages).
    Can be counted, sliced by rows, and scored by `score`.
    """

    dense_BD: Tensor
    lexical: Tensor | Sparse | None = None

    def tensors(self) -> list[Tensor]:
        """All tensors: dense part, then [B, V], or indices and values."""
        found: list[Tensor] = []
        self.map(lambda tensor: found.append(tensor) or tensor)
        return found

    def __len__(self) -> int:
        return len(self.dense_BD)

    def __getitem__(self, rows: slice | Tensor) -> Vectors:
        return self.map(lambda tensor: tensor[rows])

    def gathered(self) -> Vectors:
        """Those of all processes, rank 0 first, with the gradient of one process, see `gather_with_grad`."""
        return self.map(gather_with_grad)

    @staticmethod
    def cat(parts: Sequence[Vectors]) -> Vectors:
        """The rows of all parts, one after the other."""
        columns = iter([torch.cat(tensors) for tensors in zip(*(part.tensors() for part in parts), strict=True)])
        return parts[0].map(lambda _: next(columns))


def dot(left_AD: Tensor, right_CD: Tensor) -> Tensor:
    """Inner products [A, C]; at least in float32, under autocast as well."""
    with torch.autocast(left_AD.device.type, enabled=False):
        if left_AD.dtype in (torch.float16, torch.bfloat16):
            left_AD = left_AD.float()
        return left_AD @ right_CD.to(left_AD.dtype).T


def score(queries: Vectors, passages: Vectors) -> Tensor:
    """Scores [Q, N], dense and lexical part added up unweighted, in float32 or wider.

    Any of the three kinds of lexical part may stand on either side; kept entries are spread over the vocabulary for a
    few rows at a time, so neither [Q, N, K] nor [N, V] exists.

    Raises:
        ValueError: only one side has a lexical part.
    """
    left, right = queries.lexical, passages.lexical
    if (left is None) != (right is None):
        raise ValueError("score needs two sides of one kind; one of these has a lexical part, the other has none")
    dense_QN = dot(queries.dense_BD, passages.dense_BD)
    if left is None:
        return dense_QN
    if isinstance(right, Sparse):
        return dense_QN + _with_kept(left.full() if isinstance(left, Sparse) else left, right)
    return dense_QN + (_with_kept(right, left).T if isinstance(left, Sparse) else dot(left, right))


def _with_kept(full_QV: Tensor, kept: Sparse) -> Tensor:
    wide = torch.promote_types(torch.promote_types(full_QV.dtype, kept.values_BK.dtype), torch.float32)
    with torch.autocast(full_QV.device.type, enabled=False):
        return _KeptScore.apply(full_QV.to(wide), kept.indices_BK.long(), kept.values_BK.to(wide))


class _KeptScore(torch.autograd.Function):
    """[Q, V] x (kept entries of N rows) -> [Q, N]; keeps only its inputs for backward."""

    @staticmethod
    def forward(ctx, full_QV: Tensor, indices_NK: Tensor, values_NK: Tensor) -> Tensor:
        ctx.save_for_backward(full_QV, indices_NK, values_NK)
        scores_QN = full_QV.new_empty(len(full_QV), len(values_NK))
        for rows in _chunks(full_QV, values_NK):
            scores_QN[:, rows] = full_QV @ _spread(full_QV, indices_NK[rows], values_NK[rows]).T
        return scores_QN

    @staticmethod
    def backward(ctx, gradient_QN: Tensor) -> tuple[Tensor, None, Tensor]:
        full_QV, indices_NK, values_NK = ctx.saved_tensors
        to_full_QV, to_values_NK = torch.zeros_like(full_QV), torch.empty_like(values_NK)
        with torch.autocast(full_QV.device.type, enabled=False):
            for rows in _chunks(full_QV, values_NK):
                to_full_QV += gradient_QN[:, rows] @ _spread(full_QV, indices_NK[rows], values_NK[rows])
                to_values_NK[rows] = (gradient_QN[:, rows].T @ full_QV).gather(1, indices_NK[rows])
        return to_full_QV, None, to_values_NK


def _chunks(full_QV: Tensor, values_NK: Tensor) -> list[slice]:
    step = max(1, ENTRIES_AT_ONCE // max(1, full_QV.shape[1]))
    return [slice(start, start + step) for start in range(0, len(values_NK), step)]


def _spread(full_QV: Tensor, indices_CK: Tensor, values_CK: Tensor) -> Tensor:
    return full_QV.new_zeros(len(values_CK), full_QV.shape[1]).scatter_(1, indices_CK, values_CK)
