"""Exact nearest neighbours by inner product: passages are scored block by block, the best k are kept.

On a CPU faiss's brute-force kernel scores a block, elsewhere a matrix product and top-k; both keep the same rows.
Shapes: Q queries, q of them at a time, N passages, D width, M passages of one block, K kept.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from bmae_lightning.retrieval.index.index import Blocks, Index, blocks_of, check_some, check_width
from bmae_lightning.runtime.checks import at_least, choice
from bmae_lightning.runtime.errors import BadInput

QUERIES_AT_ONCE = 2048
BACKENDS = ("auto", "faiss", "torch")
BLOCK = {"faiss": 1_048_576, "copied": 65_536, "torch": 8192}
"""Rows scored at a time: by faiss's kernel, which starts a new list of candidates for each block; by the same where
rows must be converted first; by a matrix product, which holds their scores."""
SPARE = 8
"""Candidates asked for beyond k, to see whether equal scores were cut apart."""


class ExactIndex(Index):
    """Scores every passage, in float32, without ever holding more than 2048 x 8192 scores or a copy of all passages.

    Args:
        backend: 'faiss', 'torch', or 'auto': faiss on a CPU where it is installed (not on macOS, where its OpenMP and
            torch's crash in one process), else torch.
    """

    in_pieces = True
    choice = "index.backend=faiss"

    def __init__(self, backend: str = "auto") -> None:
        choice(BACKENDS, backend=backend)
        self.backend, self.lexical = backend, backend != "faiss"

    def search(
        self, passages: np.ndarray | Blocks, queries: np.ndarray, k: int, block: int | None = None, device: str = "cpu",
        progress: Callable[[int], None] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        at_least(1, k=k, block=block)
        faiss, queries_QD = self._faiss(device), as_tensor(queries, "cpu")

        def scored() -> Iterator[tuple[int, Best]]:
            for start, rows_MD in blocks_of(passages, lambda rows_ND: block or _rows_at_once(rows_ND, faiss)):
                check_width(rows_MD, queries_QD)
                best_of = _by_kernel(rows_MD, start, k, faiss) if faiss else _by_product(rows_MD, start, k, device)
                yield len(rows_MD), lambda some: best_of(queries_QD[some])  # noqa: B023  it is used up before the next

        return search_blocks(scored(), len(queries_QD), QUERIES_AT_ONCE, k, device, progress)

    def _faiss(self, device: str) -> Any:
        """The faiss module if it is to be used, else None."""
        if self.backend == "torch" or (self.backend == "auto" and (device != "cpu" or sys.platform == "darwin")):
            return None
        try:
            import faiss
        except ImportError as error:
            if self.backend == "auto":
                return None
            raise BadInput(
                "index.backend=faiss needs faiss; run: pip install faiss-cpu (or index.backend=torch)"
            ) from error
        if device != "cpu":
            raise BadInput(f"index.backend=faiss scores on the CPU, not on {device}; use index.backend=auto")
        faiss.omp_set_num_threads(torch.get_num_threads())
        return faiss


Best = Callable[[slice], Tensor]
"""The best of a block of passages for some of the queries, packed [q, K]."""


def search_blocks(
    blocks: Iterable[tuple[int, Best]], queries: int, at_once: int, k: int, device: str,
    progress: Callable[[int], None] | None,
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Scores and rows as `Index.search` returns them, from (passages of a block, its best), block by block.

    Args:
        queries: how many there are.
        at_once: queries that `Best` is asked for at a time.

    Raises:
        BadInput: no passages.
    """
    slices, passages = [slice(start, start + at_once) for start in range(0, queries, at_once)], 0
    best_QK = torch.empty(queries, 0, dtype=torch.int64, device=device)
    with torch.inference_mode(), full_precision(torch.device(device).type):
        for size, best_of in blocks:
            passages += size
            parts = [merge(best_QK[some], best_of(some), k) for some in slices]
            best_QK = torch.cat(parts) if parts else best_QK
            if progress is not None:
                progress(size)
    check_some(passages)
    scores_QK, rows_QK = unpack(best_QK)
    return scores_QK.cpu().numpy(), rows_QK.cpu().numpy()


def _rows_at_once(rows_ND: np.ndarray, faiss: Any) -> int:
    if faiss is None:
        return BLOCK["torch"]
    return BLOCK["faiss" if rows_ND.dtype == np.float32 and rows_ND.flags.c_contiguous else "copied"]


def as_tensor(values: np.ndarray, device: str) -> Tensor:
    """The values in float32 on a device."""
    array = np.ascontiguousarray(values)
    return torch.from_numpy(array if array.flags.writeable else array.copy()).to(device).float()


def _by_product(rows_MD: np.ndarray, start: int, k: int, device: str) -> Callable[[Tensor], Tensor]:
    """What finds the best k of a block whose first row is `start` for some queries, packed."""
    passages_MD = as_tensor(rows_MD, device)
    return lambda queries_qD: keep(queries_qD.to(device) @ passages_MD.T, start, min(k, len(passages_MD)))


def _by_kernel(rows_MD: np.ndarray, start: int, k: int, faiss: Any) -> Callable[[Tensor], Tensor]:
    """As `_by_product`, by faiss."""
    passages_MD = np.ascontiguousarray(rows_MD, dtype=np.float32)
    width, asked = min(k, len(passages_MD)), min(k + SPARE, len(passages_MD))

    def best_of(queries_qD: Tensor) -> Tensor:
        if not len(queries_qD):
            return torch.empty(0, width, dtype=torch.int64)
        found = faiss.knn(queries_qD.numpy(), passages_MD, asked, metric=faiss.METRIC_INNER_PRODUCT)
        scores_qK, columns_qK = map(torch.from_numpy, found)
        _check_finite(scores_qK, columns_qK)
        packed_qK = _pack(scores_qK, columns_qK + start).topk(width, dim=1).values
        if asked > width and (cut_q := scores_qK[:, -1] == scores_qK[:, width - 1]).any():
            packed_qK[cut_q] = _by_products(queries_qD[cut_q], passages_MD, start, width)
        return packed_qK

    return best_of


def _by_products(queries_qD: Tensor, passages_MD: np.ndarray, first: int, k: int) -> Tensor:
    """For queries with many equal scores, which faiss's kernel takes in any order."""
    best_qK = torch.empty(len(queries_qD), 0, dtype=torch.int64)
    for start, rows_MD in blocks_of(passages_MD, lambda _: BLOCK["torch"]):
        best_qK = merge(best_qK, _by_product(rows_MD, first + start, k, "cpu")(queries_qD), k)
    return best_qK


def keep(scores_QM: Tensor, start: int, width: int) -> Tensor:
    """The best of a block's scores, packed."""
    scores_QK, columns_QK = scores_QM.topk(width, dim=1)
    _check_finite(scores_QK, columns_QK)
    tied_Q = (scores_QM >= scores_QK[:, -1:]).sum(dim=1) > width
    if tied_Q.any():  # equal scores on both sides of the cut, where topk takes any: let the packed rows decide
        rows_M = torch.arange(scores_QM.shape[1], device=scores_QM.device)
        for query in tied_Q.nonzero().flatten().split(64):
            packed = _pack(scores_QM[query], rows_M).topk(width, dim=1).values
            scores_QK[query], columns_QK[query] = unpack(packed)
    return _pack(scores_QK, columns_QK + start)


def merge(best_QK: Tensor, block_QK: Tensor, k: int) -> Tensor:
    """The best k of what is kept and of a block's best, all packed."""
    both_QK = torch.cat([best_QK, block_QK], dim=1)
    return both_QK.topk(min(k, both_QK.shape[1]), dim=1).values


def _check_finite(scores_QK: Tensor, columns_QK: Tensor) -> None:
    if not torch.isfinite(scores_QK).all() or (columns_QK < 0).any():
        raise BadInput("a score is not a finite number: the vectors hold NaN or overflow, so the checkpoint is broken")


def _pack(scores: Tensor, rows: Tensor) -> Tensor:
    """One int64 that sorts like (score, -row): the score's bits, made monotonic, above the reversed row."""
    bits = (scores + 0.0).contiguous().view(torch.int32).long()  # + 0.0 turns -0 into 0
    ordered = torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits)
    return (ordered << 32) | (0xFFFFFFFF - rows)


def unpack(packed: Tensor) -> tuple[Tensor, Tensor]:
    """Scores and rows of what `_pack` has made."""
    ordered = packed >> 32
    bits = torch.where(ordered < 0, ordered ^ 0x7FFFFFFF, ordered).to(torch.int32)
    return bits.view(torch.float32), 0xFFFFFFFF - (packed & 0xFFFFFFFF)


@contextmanager
def full_precision(device_type: str) -> Iterator[None]:
    """No autocast and no TF32 while searching, whatever training has set."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")
    try:
        with torch.autocast(device_type, enabled=False):
            yield
    finally:
        torch.set_float32_matmul_precision(before)
