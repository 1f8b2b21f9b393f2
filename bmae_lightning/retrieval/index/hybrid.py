"""Exact search by dense and lexical inner product together, DupMAE's Eq. 12 and section 5.3 of its specification: blocks
of passages, whose kept vocabulary entries are rows of a CSR matrix, are scored one after the other, the best k are kept.

Shapes: Q queries, q of them at a time, N passages, M passages of one block, D width, V vocabulary, K entries per passage.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from bmae_lightning.retrieval.index.exact import as_tensor, full_precision, keep, merge, unpack
from bmae_lightning.retrieval.index.index import check_some, check_width
from bmae_lightning.retrieval.representation.vectors import Sparse, Vectors, score
from bmae_lightning.runtime.checks import at_least
from bmae_lightning.runtime.errors import BadInput

QUERIES_AT_ONCE = 512
"""Their entries are spread over the whole vocabulary: 60 MB at 30,522 entries."""
QUERIES_PER_PRODUCT = 32
"""Of one sparse product on a CPU, whose right side (4 MB) then stays in the cache: 3 to 4 times as fast as with 512."""


class HybridIndex:
    """Scores every passage in float32; holds no more than 512 x block scores and 512 complete queries."""

    def search(
        self, passages: tuple[np.ndarray, np.ndarray, np.ndarray], queries: Vectors, k: int, block: int = 32_768,
        device: str = "cpu", progress: Callable[[int], None] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """The k passages of highest score for every query, falling; equal scores: lower row first.

        passages: dense [N, D], indices [N, K] and values [N, K] of the kept entries, arrays or memory maps, as
        `vector_files.Encoded`.  queries: Q of them with all entries [Q, V] or with kept ones.
        k, block, device, progress: as `Index.search`.
        Returns scores [Q, k] float32 and rows [Q, k] int64.

        Raises:
            BadInput: no passages, parts of other shapes, or a vector that is not a number.
        """
        at_least(1, k=k, block=block)
        dense_ND, indices_NK, values_NK = passages
        size = _check(dense_ND, indices_NK, values_NK, queries)
        best_QK = torch.empty(len(queries), 0, dtype=torch.int64, device=device)
        with torch.inference_mode(), full_precision(torch.device(device).type):
            for start in range(0, len(dense_ND), block):
                rows = slice(start, start + block)
                indices_MK = torch.from_numpy(indices_NK[rows].astype(np.int32))
                _check_entries(indices_MK, size)
                part = Vectors(
                    as_tensor(dense_ND[rows], device),
                    Sparse(indices_MK.to(device), as_tensor(values_NK[rows], device), size),
                )
                width = min(k, len(part))
                kept = [
                    merge(best_QK[some], keep(_scores(queries[some], part, device), start, width), k)
                    for some in _slices(len(queries))
                ]
                best_QK = torch.cat(kept) if kept else best_QK
                if progress is not None:
                    progress(len(part))
        scores_QK, rows_QK = unpack(best_QK)
        return scores_QK.cpu().numpy(), rows_QK.cpu().numpy()


def _slices(count: int) -> list[slice]:
    return [slice(start, start + QUERIES_AT_ONCE) for start in range(0, count, QUERIES_AT_ONCE)]


def _scores(queries: Vectors, passages: Vectors, device: str) -> Tensor:
    """[q, M]; on a CPU a sparse product of scipy's, in which equal passages get equal scores wherever they stand."""
    queries = queries.map(lambda tensor: tensor.to(device))
    if device != "cpu":
        return score(queries, passages)
    lexical = queries.lexical.full() if isinstance(queries.lexical, Sparse) else queries.lexical
    lexical_qM = _products(lexical.float().numpy(), passages.lexical)
    return torch.addmm(lexical_qM, queries.dense_BD.float(), passages.dense_BD.T)


def _products(full_qV: np.ndarray, kept: Sparse) -> Tensor:
    """[q, M]: the lexical scores, a few queries to a thread."""
    from scipy.sparse import csr_array

    count, width = kept.indices_BK.shape
    wide = np.int64 if count * width >= 2**31 else np.int32  # scipy copies the indices where the two differ
    starts = np.arange(count + 1, dtype=wide) * width
    entries_MV = csr_array(
        (kept.values_BK.flatten().numpy(), kept.indices_BK.flatten().numpy(), starts), shape=(count, kept.size)
    )
    scores_qM = np.empty((len(full_qV), count), dtype=np.float32)

    def product(start: int) -> None:
        some = slice(start, start + QUERIES_PER_PRODUCT)
        scores_qM[some] = (entries_MV @ np.ascontiguousarray(full_qV[some].T)).T

    with ThreadPoolExecutor(torch.get_num_threads()) as threads:
        list(threads.map(product, range(0, len(full_qV), QUERIES_PER_PRODUCT)))
    return torch.from_numpy(scores_qM)


def _check(dense_ND: np.ndarray, indices_NK: np.ndarray, values_NK: np.ndarray, queries: Vectors) -> int:
    """The size of the vocabulary, once all parts fit each other."""
    check_some(len(dense_ND))
    check_width(dense_ND, queries.dense_BD)
    if indices_NK.shape != values_NK.shape or len(indices_NK) != len(dense_ND):
        raise BadInput(
            f"the passages' parts have shapes {dense_ND.shape}, {indices_NK.shape} and {values_NK.shape}; they are "
            "not of one encoding, so encode the corpus again"
        )
    if queries.lexical is None:
        raise BadInput("the passages have a lexical part, the queries have none; encode both with one checkpoint")
    return queries.lexical.size if isinstance(queries.lexical, Sparse) else queries.lexical.shape[1]


def _check_entries(indices_MK: Tensor, size: int) -> None:
    if indices_MK.numel() and not 0 <= int(indices_MK.min()) <= int(indices_MK.max()) < size:
        raise BadInput(
            f"a passage keeps entry {int(indices_MK.max())}, the queries' vocabulary has {size}; encode both with one "
            "checkpoint"
        )
