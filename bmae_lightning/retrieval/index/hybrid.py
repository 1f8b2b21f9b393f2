"""Exact search by dense and lexical inner product together (DupMAE, Eq. 12).

Passages are scored block by block, the best k are kept. The vocabulary entries of a block are rows of a CSR matrix.
Shapes: Q queries, q of them at a time, N passages, M of one block, D width, V vocabulary, K entries per passage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
import torch
from torch import Tensor

from bmae_lightning.retrieval.index.exact import Best, as_tensor, keep, search_blocks
from bmae_lightning.retrieval.index.index import check_some, check_width
from bmae_lightning.retrieval.representation.vectors import Sparse, Vectors, score
from bmae_lightning.runtime.checks import at_least
from bmae_lightning.runtime.errors import BadInput

QUERIES_AT_ONCE = 512
"""Queries scored at a time; their entries are spread over the whole vocabulary: 60 MB at 30,522 entries."""
QUERIES_PER_PRODUCT = 32
"""Queries of one sparse product on a CPU: its right side (4 MB) stays in the cache, 3 to 4 times as fast as 512."""


class HybridIndex:
    """Scores every passage in float32; holds no more than 512 x block scores and 512 complete queries."""

    def search(
        self, passages: tuple[np.ndarray, np.ndarray, np.ndarray], queries: Vectors, k: int, block: int = 32_768,
        device: str = "cpu", progress: Callable[[int], None] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """The k passages of highest score for every query, falling; equal scores: lower row first.

        Args:
            passages: dense [N, D], indices [N, K] and values [N, K] of the kept entries, arrays or memory maps, as
                `vector_files.Encoded`.
            queries: Q of them with all entries [Q, V] or with kept ones.
            k, block, device, progress: as `Index.search`.

        Returns:
            Scores [Q, k] float32 and rows [Q, k] int64.

        Raises:
            BadInput: no passages, parts of other shapes, or a vector that is not a number.
        """
        at_least(1, k=k, block=block)
        dense_ND, indices_NK, values_NK = passages
        size = _check(dense_ND, indices_NK, values_NK, queries)

        def scored() -> Iterator[tuple[int, Best]]:
            for start in range(0, len(dense_ND), block):
                rows = slice(start, start + block)
                indices_MK = torch.from_numpy(indices_NK[rows].astype(np.int32))
                _check_entries(indices_MK, size)
                kept = Sparse(indices_MK.to(device), as_tensor(values_NK[rows], device), size)
                part = Vectors(as_tensor(dense_ND[rows], device), kept)
                yield len(part), partial(_best, queries, part, start, k, device)

        return search_blocks(scored(), len(queries), QUERIES_AT_ONCE, k, device, progress)


def _best(queries: Vectors, passages: Vectors, start: int, k: int, device: str, some: slice) -> Tensor:
    return keep(_scores(queries[some], passages, device), start, min(k, len(passages)))


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
