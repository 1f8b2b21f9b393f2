"""What `index=` must be: it finds the passages of highest inner product with dense query vectors.

A new index is a subclass of `Index` in one file and a YAML with its `_target_` and options in `conf/index/`.
Shapes: Q queries, N passages, D width, M passages of one block, K kept.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from bmae_lightning.runtime.errors import BadInput

if TYPE_CHECKING:
    from torch import Tensor

Blocks = Iterable[tuple[int, np.ndarray]]


class Index(ABC):
    """Searches dense vectors.

    Attributes:
        in_pieces: whether several processes may search, each for a part of the queries; False where `search` first
            builds something of all passages, which the first process then does once for all queries.
        lexical: whether it may be chosen for a representation with a lexical part; `HybridIndex` searches that then.
        choice: the option that chooses it, for messages.
    """

    in_pieces: bool = False
    lexical: bool = False
    choice: str = "index"

    @abstractmethod
    def search(
        self, passages: np.ndarray | Blocks, queries: np.ndarray, k: int, block: int | None = None, device: str = "cpu",
        progress: Callable[[int], None] | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """The k passages of highest inner product for every query, falling; equal scores: lower row first.

        Args:
            passages: [N, D] array or memory map, any float type, or an iterable of (first row, [M, D]) in any order.
            queries: [Q, D].
            k: passages per query, at most N of which there are.
            block: passages taken at a time, None for the index's own choice.
            device: as torch names it.
            progress: told the number of passages done since the last call.

        Returns:
            Scores [Q, K] float32 and rows [Q, K] int64; row -1 with score -inf where fewer than k were found.

        Raises:
            BadInput: no passages, other widths, or a vector that is not a number.
        """


def blocks_of(passages: np.ndarray | Blocks, rows: Callable[[np.ndarray], int]) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, at most `rows(array)` rows) of an array, or of every piece of an iterable of (first row, rows)."""
    for first, rows_ND in [(0, passages)] if isinstance(passages, np.ndarray) else passages:
        block = rows(rows_ND)
        for start in range(0, len(rows_ND), block):
            yield first + start, rows_ND[start : start + block]


def check_width(passages_MD: np.ndarray, queries_QD: np.ndarray | Tensor) -> None:
    """Raise BadInput where passages and queries are no vectors of one width."""
    if passages_MD.ndim != 2 or queries_QD.ndim != 2 or passages_MD.shape[1] != queries_QD.shape[1]:
        raise BadInput(
            f"passage vectors have shape {tuple(passages_MD.shape)}, query vectors {tuple(queries_QD.shape)}; "
            "both need the same width, so encode them with one checkpoint"
        )


def check_some(passages: int) -> None:
    """Raise BadInput where there is no passage."""
    if not passages:
        raise BadInput("there is no passage to search; encode the corpus first")
