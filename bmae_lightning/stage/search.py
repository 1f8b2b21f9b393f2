"""Rank encoded passages for queries of a token store, with the index that the retriever's representation needs."""

import time
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bmae_lightning.corpus.token_store import TokenStore
from bmae_lightning.dual_encoder import DualEncoder
from bmae_lightning.encoding import Encoded, encode, encode_vectors
from bmae_lightning.errors import BadInput
from bmae_lightning.index import hybrid
from bmae_lightning.index.exact import ExactIndex
from bmae_lightning.index.faiss import FaissIndex


class Found(NamedTuple):
    """scores [Q, K] float32 and rows [Q, K] int64, as an index returns them, and the seconds that searching took."""

    scores: np.ndarray
    rows: np.ndarray
    seconds: float


def check_index(index: ExactIndex | FaissIndex, model: DualEncoder) -> None:
    """Refuse an index that cannot search what the retriever makes.

    Raises:
        BadInput: a faiss index, or faiss's kernel, for a representation with a lexical part.
    """
    if model.representation.lexical and (isinstance(index, FaissIndex) or index.backend == "faiss"):
        chosen = "index=faiss" if isinstance(index, FaissIndex) else "index.backend=faiss"
        raise BadInput(
            f"{chosen} searches dense vectors only, and this retriever's representation has a lexical part too: set "
            "index=exact index.backend=auto"
        )


def search(
    index: ExactIndex | FaissIndex, model: DualEncoder, passages: Encoded, queries: TokenStore, rows: np.ndarray,
    length: int, batch_tokens: int, device: str, depth: int, advance: Callable[[int], None],
) -> Found:  # fmt: skip
    """Encode the given rows of `queries` and find the `depth` best passages of each.

    With a lexical part it is `hybrid.HybridIndex`, and only so many queries are encoded at a time as it takes at once,
    since theirs is as wide as the vocabulary. Other arguments as for `encode`.
    """
    if not model.representation.lexical:
        vectors = encode(model, queries, rows, length, batch_tokens, device, advance)
        started = time.monotonic()
        scores, found = index.search(passages.dense, vectors, depth, device=device)
        return Found(scores, found, time.monotonic() - started)
    parts, seconds = [], 0.0
    for start in range(0, max(1, len(rows)), hybrid.QUERIES_AT_ONCE):
        some = rows[start : start + hybrid.QUERIES_AT_ONCE]
        vectors = encode_vectors(model, queries, some, length, batch_tokens, device, advance, passages=False)
        started = time.monotonic()
        parts.append(hybrid.HybridIndex().search(passages, vectors, depth, device=device))
        seconds += time.monotonic() - started
    return Found(*(np.concatenate(part) for part in zip(*parts, strict=True)), seconds)
