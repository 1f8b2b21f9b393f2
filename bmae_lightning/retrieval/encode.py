"""Turn a token store into vectors: shard by shard, sorted by length inside a shard, batches of a fixed token budget.

Shapes: N texts, D dense width, K vocabulary entries kept per passage, V vocabulary.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.retrieval.dual_encoder import DualEncoder
from bmae_lightning.retrieval.representation.vectors import Sparse, Vectors
from bmae_lightning.retrieval.vector_files import VectorShards


def encode_vectors(
    model: DualEncoder, store: TokenStore, rows: np.ndarray, length: int, batch_tokens: int, device: str,
    advance: Callable[[int], None], passages: bool,
) -> Vectors:  # fmt: skip
    """The given rows of a store as float32 vectors in main memory, in their order.

    A lexical part is complete for queries ([N, V], so give few of them at a time), kept entries in ascending order of
    their index for passages.

    Args:
        model: in evaluation mode.
        length: word pieces with [CLS] and [SEP] after which a text is cut.
        batch_tokens: word pieces, padding included, encoded at a time.
        device: of the model.
        advance: told the number of texts done.
        passages: whether the texts are passages, not queries.
    """
    made = _empty(model, len(rows), passages)
    with torch.inference_mode():
        for batch in batches_by_length(np.minimum(store.lengths[rows] + 2, length), batch_tokens):
            tokens = model.encoder.vocabulary.pad([store[rows[i]] for i in batch], length).to(device)
            part = _ordered(model(tokens, passages=passages))
            for whole, piece in zip(made.tensors(), part.tensors(), strict=True):
                whole[torch.from_numpy(batch)] = piece.to(whole.dtype).cpu()
            advance(len(batch))
    return made


def _empty(model: DualEncoder, count: int, passages: bool) -> Vectors:
    kept, size = model.representation.lexical, model.encoder.config.vocab_size
    dense_ND = torch.empty(count, model.width)
    if not kept:
        return Vectors(dense_ND)
    if not passages:
        return Vectors(dense_ND, torch.empty(count, size))
    return Vectors(dense_ND, Sparse(torch.empty(count, kept, dtype=torch.int32), torch.empty(count, kept), size))


def _ordered(vectors: Vectors) -> Vectors:
    if not isinstance(vectors.lexical, Sparse):
        return vectors
    indices_BK, order_BK = vectors.lexical.indices_BK.sort(1)
    values_BK = vectors.lexical.values_BK.gather(1, order_BK)
    return Vectors(vectors.dense_BD, Sparse(indices_BK, values_BK, vectors.lexical.size))


def batches_by_length(lengths: np.ndarray, batch_tokens: int) -> Iterator[np.ndarray]:
    """Places in `lengths`, the longest texts first, as many as fit `batch_tokens` with padding, but at least one."""
    order, start = np.argsort(-lengths, kind="stable"), 0
    while start < len(order):
        size = max(1, batch_tokens // int(lengths[order[start]]))
        yield order[start : start + size]
        start += size


def encode_shards(
    model: DualEncoder, store: TokenStore, shards: VectorShards, length: int, batch_tokens: int, device: str,
    advance: Callable[[int], None], rank: int = 0, world: int = 1,
) -> None:  # fmt: skip
    """Encode the passages of one process's unfinished shards. Batches do not depend on the number of processes."""
    for number in shards.missing(rank, world):
        rows = np.array(shards.rows(number))
        vectors = encode_vectors(model, store, rows, length, batch_tokens, device, advance, passages=True)
        shards.write_vectors(number, vectors)
