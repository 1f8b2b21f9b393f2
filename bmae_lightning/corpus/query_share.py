"""A fixed part of the training queries, for few-shot curves (MASTER Figure 3b): smaller shares lie inside larger ones."""

import hashlib
from collections.abc import Mapping
from typing import TypeVar

from bmae_lightning.errors import BadInput

Marks = TypeVar("Marks")


class QueryShare:
    """Whether a query takes part is a function of (seed, query id) alone, so that every stage draws the same sample.

    Args:
        share: of the queries, above 0 and at most 1; it is met on average, not exactly.
        seed: of the sample.
    """

    def __init__(self, share: float = 1.0, seed: int = 0) -> None:
        if not 0 < share <= 1:
            raise ValueError(f"share must be above 0 and at most 1 (5 % is train_share=0.05), got {share}")
        self.share, self.seed = share, seed

    def of(self, queries: Mapping[str, Marks]) -> dict[str, Marks]:
        """The queries that take part, in their order.

        Raises:
            BadInput: none does.
        """
        kept = {query: marks for query, marks in queries.items() if self._place(query) < self.share}
        if queries and not kept:
            raise BadInput(
                f"train_share={self.share} leaves none of the {len(queries):,} training queries: use a larger share, or "
                "another train_queries.seed"
            )
        return kept

    def _place(self, query: str) -> float:
        """Where the query lies in [0, 1)."""
        if self.share == 1:
            return 0.0
        digest = hashlib.blake2b(f"{self.seed}\0share\0{query}".encode(), digest_size=8).digest()
        return int.from_bytes(digest, "little") / 2**64
