"""Encode texts in one process: into memory, or a whole token store into files as the stages do shard by shard."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.retrieval.dual_encoder import DualEncoder
from bmae_lightning.retrieval.encode import encode_shards, encode_vectors
from bmae_lightning.retrieval.vector_files import Encoded, VectorShards


def encode_to_files(
    model: DualEncoder, store: TokenStore, length: int, batch_tokens: int, device: str, path: Path,
    advance: Callable[[int], None], shard: int = 65536,
) -> Encoded:  # fmt: skip
    """Encode passages, a whole store, and return them memory-mapped; shards already written are kept.

    The files are those of `VectorShards`.

    Raises:
        BadInput: files are there, but of another corpus or of vectors of another kind.
    """
    shards = VectorShards(path, model, store, length, shard)
    shards.claim()
    advance(len(store) - sum(len(shards.rows(number)) for number in shards.missing()))
    encode_shards(model, store, shards, length, batch_tokens, device, advance)
    shards.assemble()
    return shards.open()


def encode(
    model: DualEncoder, store: TokenStore, rows: np.ndarray, length: int, batch_tokens: int, device: str,
    advance: Callable[[int], None], passages: bool = False,
) -> np.ndarray:  # fmt: skip
    """Dense vectors [N, D] of the given rows; arguments as for `encode_vectors`."""
    vectors = encode_vectors(model, store, rows, length, batch_tokens, device, advance, passages)
    assert vectors.lexical is None
    return vectors.dense_BD.numpy()
