"""Turn a token store into vectors: shard by shard, sorted by length inside a shard, batches of a fixed token budget.

Shapes: N texts, D dense width, K vocabulary entries kept per passage, V vocabulary.
"""

import io
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from bmae_lightning.corpus.token_store import TokenStore
from bmae_lightning.dual_encoder import DualEncoder
from bmae_lightning.errors import BadInput
from bmae_lightning.representation.vectors import Sparse, Vectors
from bmae_lightning.stage.context import read_json, write_json

SHARD = 65536
"""Passages encoded before their vectors are written."""


class Encoded(NamedTuple):
    """Passages on disk, memory-mapped: dense [N, D] float32; of the lexical part, if there is one, indices [N, K] (uint16
    where the vocabulary allows, else int32), ascending in a row, and values [N, K] float32: CSR with K entries a row."""

    dense: np.ndarray
    indices: np.ndarray | None = None
    values: np.ndarray | None = None


def encode_vectors(
    model: DualEncoder, store: TokenStore, rows: np.ndarray, length: int, batch_tokens: int, device: str,
    advance: Callable[[int], None], passages: bool,
) -> Vectors:  # fmt: skip
    """The given rows of a store as float32 vectors in main memory, in their order.

    A lexical part is complete for queries ([N, V], so give few of them at a time), kept entries in ascending order of
    their index for passages. Arguments as for `encode`.
    """
    lengths = np.minimum(store.lengths[rows] + 2, length)
    order = np.argsort(-lengths, kind="stable")
    made = _empty(model, len(rows), passages)
    with torch.inference_mode():
        for batch in _batches(order, lengths, batch_tokens):
            tokens = model.encoder.vocabulary.pad([store[rows[i]] for i in batch], length).to(device)
            part = _ordered(model(tokens, passages=passages))
            for whole, piece in zip(made.tensors(), part.tensors(), strict=True):
                whole[torch.from_numpy(batch)] = piece.to(whole.dtype).cpu()
            advance(len(batch))
    return made


def encode(
    model: DualEncoder,
    store: TokenStore,
    rows: np.ndarray,
    length: int,
    batch_tokens: int,
    device: str,
    advance: Callable[[int], None],
    passages: bool = False,
) -> np.ndarray:
    """Vectors [N, D] float32 of the given rows, in their order; for representations without a lexical part.

    Args:
        model: in evaluation mode.
        length: word pieces with [CLS] and [SEP] after which a text is cut.
        batch_tokens: word pieces, padding included, encoded at a time.
        device: of the model.
        advance: told the number of texts done.
        passages: whether the texts are passages, not queries.
    """
    if model.representation.lexical:
        raise ValueError("encode makes dense vectors only; this representation has a lexical part: use encode_vectors")
    return encode_vectors(model, store, rows, length, batch_tokens, device, advance, passages).dense_BD.numpy()


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
    """Encode passages, a whole store, into `path` (.npy, float32) and return it memory-mapped; dense vectors only."""
    if model.representation.lexical:
        raise ValueError("encode_to_file writes dense vectors only; this representation needs encode_to_files")
    return encode_to_files(model, store, length, batch_tokens, device, path, advance).dense


def encode_to_files(
    model: DualEncoder, store: TokenStore, length: int, batch_tokens: int, device: str, path: Path,
    advance: Callable[[int], None],
) -> Encoded:  # fmt: skip
    """Encode passages, a whole store, and return them memory-mapped; shards already written are kept.

    The dense part goes to `path` (NAME.npy), a lexical part to NAME.indices.npy and NAME.values.npy beside it, what they
    are of to NAME.json.

    Raises:
        BadInput: files are there, but of another corpus or of vectors of another kind.
    """
    count, width, kept = len(store), model.width, model.representation.lexical
    _claim(path, {
        "passages": count, "word_pieces": len(store.tokens), "tokenizer": store.tokenizer_digest, "length": length,
        "dense": width, "lexical": kept,
    })  # fmt: skip
    columns = [_Column(path, "<f4", (count, width))]
    if kept:
        index_type = "<u2" if model.encoder.config.vocab_size <= 65536 else "<i4"
        columns.append(_Column(path.with_name(f"{path.stem}.indices.npy"), index_type, (count, kept)))
        columns.append(_Column(path.with_name(f"{path.stem}.values.npy"), "<f4", (count, kept)))
    with ExitStack() as stack:
        files = [stack.enter_context(column.partial.open("ab")) for column in columns]
        shards = min(column.shards(file) for column, file in zip(columns, files, strict=True))
        for column, file in zip(columns, files, strict=True):
            file.truncate(len(column.header) + shards * column.shard_bytes)
        advance(min(shards * SHARD, count))
        for start in range(shards * SHARD, count, SHARD):
            rows = np.arange(start, min(start + SHARD, count))
            vectors = encode_vectors(model, store, rows, length, batch_tokens, device, advance, passages=True)
            for column, file, tensor in zip(columns, files, vectors.tensors(), strict=True):
                file.write(tensor.numpy().astype(column.dtype).tobytes())
                file.flush()
        for file in files:
            os.fsync(file.fileno())
    for column in columns:
        column.partial.replace(column.path)
    return Encoded(*(np.load(column.path, mmap_mode="r") for column in columns))


def open_files(path: Path) -> Encoded:
    """What `encode_to_files` wrote to `path`, memory-mapped.

    Raises:
        BadInput: a file is missing or damaged.
    """
    lexical = [path.with_name(f"{path.stem}.{part}.npy") for part in ("indices", "values")]
    try:
        return Encoded(*(np.load(file, mmap_mode="r") for file in [path, *lexical] if file == path or file.exists()))
    except (OSError, ValueError, TypeError) as error:
        raise BadInput(f"{path}: the vectors cannot be read ({error}); remove {path.parent} and run again") from error


def _claim(path: Path, wanted: dict[str, int | str]) -> None:
    """Write down what the vectors at `path` are of, or compare it with what was written there before."""
    record = path.with_suffix(".json")
    begun = [file for file in path.parent.glob(f"{path.stem}.*") if ".npy" in file.name]
    if not record.exists() or not begun:
        for file in begun:
            file.unlink()
        write_json(record, wanted)
        return
    found = read_json(record)
    differ = [name for name in wanted if found.get(name) != wanted[name]]
    if differ:
        was, now = (", ".join(f"{name} {str(of.get(name))[:12]}" for name in differ) for of in (found, wanted))
        raise BadInput(
            f"{path}: the corpus has changed since this index was built (it has {was}; now {now}): remove "
            f"{path.parent / path.stem}.* and run again"
        )


class _Column:
    """One .npy file that grows by whole shards; `partial` until it is complete, and again when it is continued."""

    def __init__(self, path: Path, dtype: str, shape: tuple[int, int]) -> None:
        self.path, self.dtype, self.partial = path, np.dtype(dtype), path.with_name(path.name + ".partial")
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": shape})
        self.header = header.getvalue()
        self.shard_bytes = self.dtype.itemsize * shape[1] * SHARD
        if path.exists() and not self.partial.exists():
            path.replace(self.partial)

    def shards(self, file: io.BufferedWriter) -> float | int:
        """Whole shards in the file, any number for a column without width; a file without a header gets one."""
        if file.tell() < len(self.header):
            file.truncate(0)
            file.write(self.header)
            file.flush()
        written = file.tell() - len(self.header)
        return written // self.shard_bytes if self.shard_bytes else float("inf")
