"""Turn a token store into vectors: shard by shard, sorted by length inside a shard, batches of a fixed token budget."""

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch

from bmae_lightning.corpus.token_store import TokenStore
from bmae_lightning.dual_encoder import DualEncoder

SHARD = 65536
"""Passages encoded before their vectors are written."""


def encode(
    model: DualEncoder,
    store: TokenStore,
    rows: np.ndarray,
    length: int,
    batch_tokens: int,
    device: str,
    advance: Callable[[int], None],
) -> np.ndarray:
    """Vectors [N, D] float32 of the given rows, in their order.

    Args:
        model: in evaluation mode.
        length: word pieces with [CLS] and [SEP] after which a text is cut.
        batch_tokens: word pieces, padding included, encoded at a time.
        device: of the model.
        advance: told the number of texts done.
    """
    lengths = np.minimum(store.lengths[rows] + 2, length)
    order = np.argsort(-lengths, kind="stable")
    vectors = np.empty((len(rows), model.encoder.width), dtype=np.float32)
    with torch.inference_mode():
        for batch in _batches(order, lengths, batch_tokens):
            tokens = model.encoder.vocabulary.pad([store[rows[i]] for i in batch], length).to(device)
            vectors[batch] = model(tokens).float().cpu().numpy()
            advance(len(batch))
    return vectors


def _batches(order: np.ndarray, lengths: np.ndarray, batch_tokens: int) -> Iterator[np.ndarray]:
    start = 0
    while start < len(order):
        size = max(1, batch_tokens // int(lengths[order[start]]))
        yield order[start : start + size]
        start += size


def encode_to_file(
    model: DualEncoder, store: TokenStore, length: int, batch_tokens: int, device: str, path: Path,
    advance: Callable[[int], None],
) -> np.ndarray:  # fmt: skip
    """Encode a whole store into `path` (.npy, float32) and return it memory-mapped; shards already written are kept."""
    partial = path.with_name(path.name + ".partial")
    shape = (len(store), model.encoder.width)
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, {"descr": "<f4", "fortran_order": False, "shape": shape})
    shard_bytes = 4 * model.encoder.width * SHARD
    with partial.open("ab") as file:
        if file.tell() < header.tell():
            file.truncate(0)
            file.write(header.getvalue())
        shards = (file.tell() - header.tell()) // shard_bytes
        file.truncate(header.tell() + shards * shard_bytes)
        advance(shards * SHARD)
        for start in range(shards * SHARD, len(store), SHARD):
            rows = np.arange(start, min(start + SHARD, len(store)))
            file.write(encode(model, store, rows, length, batch_tokens, device, advance).tobytes())
            file.flush()
    partial.replace(path)
    return np.load(path, mmap_mode="r")
