"""Rank encoded passages for queries of a token store, with the index that the retriever's representation needs.

Shapes: Q queries, q of one shard, K ranks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.evaluation.measure.trec import Run
from bmae_lightning.retrieval.index.index import Index
from bmae_lightning.retrieval.vector_files import Encoded
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.shards import ArrayShards

if TYPE_CHECKING:
    from bmae_lightning.retrieval.dual_encoder import DualEncoder


class Found(NamedTuple):
    """scores [Q, K] float32 and rows [Q, K] int64, as an index returns them, and the seconds that searching took."""

    scores: np.ndarray
    rows: np.ndarray
    seconds: float


class FoundShards(ArrayShards):
    """What was found for queries: files `<directory>/shard-<number>.npy`, a record (rows [K], scores [K]) per query.

    Args:
        directory: where the files lie.
        store: the token store of the queries.
        ids: the Q queries that are searched for.
        size: queries per shard.
        depth: K.
    """

    def __init__(self, directory: Path, store: TokenStore, ids: Sequence[str], size: int, depth: int) -> None:
        super().__init__(directory, len(ids), size)
        self.store, self.ids, self.depth = store, list(ids), depth
        self.rows_Q = store.rows_of(self.ids)
        self.dtype = np.dtype([("rows", "<i8", (depth,)), ("scores", "<f4", (depth,))])

    def rows_of(self, number: int) -> np.ndarray:
        """The queries of a shard [q], as rows of their store."""
        return self.rows_Q[number * self.size : (number + 1) * self.size]

    def write_found(self, number: int, found: Found) -> None:
        """Write the result [q, K] of a whole shard's search."""
        records = np.empty(len(found.rows), self.dtype)
        records["rows"], records["scores"] = found.rows, found.scores
        self.write(number, records)

    def complete(self) -> bool:
        """Whether every shard is written."""
        return not self.missing()

    def run(self, passages: Sequence[str]) -> Run:
        """The complete ranking.

        Args:
            passages: ids of the rows of the corpus.

        Raises:
            BadInput: a shard's file is missing or damaged.
        """
        parts = list(self.read())
        rows, scores = ([line for part in parts for line in part[name]] for name in ("rows", "scores"))
        return Run.from_rows(self.ids, passages, rows, scores)


def check_index(index: Index, lexical: int) -> None:
    """Refuse an index that cannot search what a retriever makes.

    Args:
        lexical: vocabulary entries that its representation keeps per passage, 0 for a dense one.

    Raises:
        BadInput: an index of dense vectors only, for a representation with a lexical part.
    """
    if lexical and not index.lexical:
        raise BadInput(
            f"{index.choice} searches dense vectors only, and this retriever's representation has a lexical part too: "
            "set index=exact index.backend=auto"
        )


def search(
    index: Index, model: DualEncoder, passages: Encoded, queries: TokenStore, rows: np.ndarray,
    length: int, batch_tokens: int, device: str, depth: int, advance: Callable[[int], None],
) -> Found:  # fmt: skip
    """Encode the given rows of `queries` and find the `depth` best passages of each.

    `HybridIndex` searches for a representation with a lexical part; only so many queries are encoded at a time as it
    takes at once, since theirs is as wide as the vocabulary.

    Args:
        advance: told of encoded queries, and of 0 during the search. Other arguments as for `encode_vectors`.
    """
    from bmae_lightning.retrieval.encode import encode_vectors
    from bmae_lightning.retrieval.index import hybrid

    lexical, parts, seconds = model.representation.lexical, [], 0.0
    at_once = hybrid.QUERIES_AT_ONCE if lexical else max(1, len(rows))
    for start in range(0, max(1, len(rows)), at_once):
        some = rows[start : start + at_once]
        vectors = encode_vectors(model, queries, some, length, batch_tokens, device, advance, passages=False)
        started = time.monotonic()
        if lexical:
            found = hybrid.HybridIndex().search(passages, vectors, depth, device=device, progress=lambda _: advance(0))
        else:
            asked_QD = vectors.dense_BD.numpy()
            found = index.search(passages.dense, asked_QD, depth, device=device, progress=lambda _: advance(0))
        parts.append(found)
        seconds += time.monotonic() - started
    return Found(*(np.concatenate(part) for part in zip(*parts, strict=True)), seconds)
