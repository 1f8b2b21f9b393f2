"""Nearest neighbours by inner product with any faiss index, named by its factory string.

Shapes: Q queries, N passages, D width, K kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bmae_lightning.retrieval.index.index import Blocks, Index, blocks_of, check_some, check_width
from bmae_lightning.runtime.checks import at_least
from bmae_lightning.runtime.errors import BadInput

BLOCK = 65_536
"""Passages that are added at a time."""


class FaissIndex(Index):
    """Approximate (or exact: Flat) search.

    Args:
        factory: faiss's index_factory string, such as Flat, "IVF1024,Flat", HNSW32 or PQ96.
        nprobe: lists visited per query, for IVF indexes; null keeps faiss's 1, which recalls little.
        train: most vectors used to train an index that needs it, taken evenly (of a stream: its first).
    """

    choice = "index=faiss"

    def __init__(self, factory: str = "Flat", nprobe: int | None = None, train: int = 262_144) -> None:
        at_least(1, nprobe=nprobe, train=train)
        self.factory, self.nprobe, self.train = factory, nprobe, train

    def search(
        self, passages: np.ndarray | Blocks, queries: np.ndarray, k: int, block: int | None = None, device: str = "cpu",
        progress: Callable[[int], None] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """As `Index.search`.

        Raises:
            BadInput: also where faiss is missing, the factory string is wrong, or too few vectors are there for it.
        """
        at_least(1, k=k, block=block)
        faiss = _faiss()
        queries_QD = _float32(queries)
        stream = blocks_of(passages, lambda _: block or BLOCK)
        held = [(start, rows) for start, rows in [next(stream, (0, None))] if rows is not None]
        check_some(len(held))
        check_width(held[0][1], queries_QD)
        index = self._make(faiss, queries_QD.shape[1], device)
        if not index.is_trained:
            if isinstance(passages, np.ndarray):
                self._fit(
                    index, passages[np.linspace(0, len(passages) - 1, min(self.train, len(passages))).astype(int)]
                )
            else:
                while sum(len(rows) for _, rows in held) < self.train and (more := next(stream, None)):
                    held.append(more)
                self._fit(index, np.concatenate([rows for _, rows in held])[: self.train])
        starts, sizes = [], []
        for piece in (held, stream):
            for start, rows_MD in piece:
                check_width(rows_MD, queries_QD)
                index.add(_float32(rows_MD))
                starts.append(start)
                sizes.append(len(rows_MD))
                if progress is not None:
                    progress(len(rows_MD))
        scores_QK, added_QK = index.search(queries_QD, min(k, index.ntotal))
        rows_N = np.concatenate([start + np.arange(size) for start, size in zip(starts, sizes, strict=True)])
        rows_QK = np.where(added_QK >= 0, rows_N[added_QK], -1)
        scores_QK = np.where(added_QK >= 0, scores_QK, -np.inf).astype(np.float32)
        order_QK = np.lexsort((np.where(rows_QK < 0, len(rows_N), rows_QK), -scores_QK), axis=1)
        return np.take_along_axis(scores_QK, order_QK, 1), np.take_along_axis(rows_QK, order_QK, 1)

    def _make(self, faiss: Any, width: int, device: str) -> Any:
        try:
            index = faiss.index_factory(width, self.factory, faiss.METRIC_INNER_PRODUCT)
            if self.nprobe is not None:
                faiss.ParameterSpace().set_index_parameter(index, "nprobe", self.nprobe)
        except RuntimeError as error:
            raise BadInput(
                f"index.factory {self.factory!r} (nprobe {self.nprobe}) does not fit vectors of width {width}: "
                f"{_first_line(error)}; use Flat, IVF1024,Flat or HNSW32"
            ) from error
        if device == "cpu":
            return index
        if not hasattr(faiss, "index_cpu_to_all_gpus") or not faiss.get_num_gpus():
            return index  # the CPU build searches on the CPU
        return faiss.index_cpu_to_all_gpus(index)

    def _fit(self, index: Any, vectors: np.ndarray) -> None:
        try:
            index.train(_float32(vectors))
        except RuntimeError as error:
            raise BadInput(
                f"index.factory {self.factory!r} cannot be trained on {len(vectors):,} vectors: {_first_line(error)}"
                "; use Flat, or fewer lists and codes"
            ) from error


def _float32(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=np.float32)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0].split("Error: ")[-1][:200]


def _faiss() -> Any:
    try:
        import faiss
    except ImportError as error:
        raise BadInput("the faiss index needs faiss; run: pip install faiss-cpu (or set index=exact)") from error
    return faiss
