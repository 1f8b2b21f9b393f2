"""Passages' vectors on disk: written shard by shard, by any number of processes, put together into plain .npy files.

Shapes: N passages, D dense width, K vocabulary entries kept per passage.
"""

from __future__ import annotations

import io
import shutil
from bisect import bisect_right
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import numpy as np

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import flush, growing, read_json, write_json
from bmae_lightning.runtime.shards import ArrayShards

if TYPE_CHECKING:
    from bmae_lightning.retrieval.dual_encoder import DualEncoder
    from bmae_lightning.retrieval.representation.vectors import Vectors


class Encoded(NamedTuple):
    """Passages on disk, memory-mapped.

    Attributes:
        dense: [N, D] float32.
        indices: of the lexical part [N, K], ascending in a row; uint16 where the vocabulary allows, else int32.
        values: of the lexical part [N, K] float32: with the indices a CSR matrix with K entries a row.
    """

    dense: np.ndarray
    indices: np.ndarray | None = None
    values: np.ndarray | None = None


def open_vectors(path: Path) -> Encoded:
    """The complete vectors whose dense part is at `path`.

    Raises:
        BadInput: a file is missing or damaged.
    """
    lexical = [path.with_name(f"{path.stem}.{name}.npy") for name in ("indices", "values")]
    try:
        return Encoded(*(np.load(file, mmap_mode="r") for file in (path, *lexical) if file == path or file.exists()))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: the vectors cannot be read ({error}); remove {path.parent} and run again") from error


class VectorShards(ArrayShards):
    """The vectors of a whole store: NAME.npy, of a lexical part NAME.indices.npy and NAME.values.npy.

    NAME.json says what the vectors are of. Until `assemble` a shard is a file of records in NAME.shards/; then it is a
    region of NAME*.npy.partial and the file is deleted, so that the vectors lie on the disk once.

    Args:
        path: NAME.npy.
        model: makes the vectors.
        store: the passages.
        length: word pieces after which they are cut.
        size: passages per shard.
    """

    def __init__(self, path: Path, model: DualEncoder, store: TokenStore, length: int, size: int) -> None:
        super().__init__(path.with_suffix(".shards"), len(store), size)
        width, kept = model.width, model.representation.lexical
        self.target = path
        self.record = {
            "passages": len(store), "word_pieces": len(store.tokens), "tokenizer": store.tokenizer_digest,
            "length": length, "dense": width, "lexical": kept,
        }  # fmt: skip
        self.columns = [_Column("dense", path, "<f4", len(store), width, size)]
        if kept:
            index_type = "<u2" if model.encoder.config.vocab_size <= 65536 else "<i4"
            self.columns += [
                _Column(name, path.with_name(f"{path.stem}.{name}.npy"), dtype, len(store), kept, size)
                for name, dtype in (("indices", index_type), ("values", "<f4"))
            ]
        self.dtype = np.dtype([(column.name, column.dtype, (column.width,)) for column in self.columns])

    def claim(self) -> None:
        """Write down what the vectors are of, or compare it with what was written there before; one process does this.

        Raises:
            BadInput: files are there, but of another corpus or of vectors of another kind.
        """
        begun = [path for column in self.columns for path in (column.path, column.partial) if path.exists()]
        if self.target.with_suffix(".json").exists() and (begun or self.directory.exists()):
            self.claimed()
            return
        for path in begun:
            path.unlink()
        shutil.rmtree(self.directory, ignore_errors=True)
        write_json(self.target.with_suffix(".json"), self.record)

    def claimed(self) -> bool:
        """Whether a process has claimed the place for these vectors; BadInput as above."""
        path = self.target.with_suffix(".json")
        if not path.exists():
            return False
        found = read_json(path)
        if differ := [name for name in self.record if found.get(name) != self.record[name]]:
            was, now = (", ".join(f"{name} {str(of.get(name))[:12]}" for name in differ) for of in (found, self.record))
            raise BadInput(
                f"{self.target}: the corpus has changed since this index was built (it has {was}; now {now}): remove "
                f"{self.target.parent / self.target.stem}.* and run again"
            )
        return True

    def missing(self, rank: int = 0, world: int = 1) -> list[int]:
        numbers = super().missing(rank, world)
        assembled = self._assembled()  # asked last: a file may just have moved there
        return [number for number in numbers if number >= assembled]

    def write_vectors(self, number: int, vectors: Vectors) -> None:
        """Write a whole shard of passages' vectors."""
        records = np.empty(len(vectors), self.dtype)
        for column, tensor in zip(self.columns, vectors.tensors(), strict=True):
            records[column.name] = tensor.numpy()
        self.write(number, records)

    def assemble(self) -> None:
        """Put all shards together; one process does this once none is missing.

        Raises:
            BadInput: a shard's file is damaged.
        """
        with ExitStack() as stack:
            growing = [
                (column, held := column.shards(), stack.enter_context(column.grow(held)))
                for column in self.columns
                if not column.path.exists()
            ]
            for number in range(self._assembled(), self.count):
                records = self.load(number)
                for column, held, file in growing:
                    if number >= held:
                        file.write(records[column.name].tobytes())
                for _, _, file in growing:
                    flush(file)
                self.path(number).unlink()
        for column, _, _ in growing:
            column.partial.replace(column.path)
        shutil.rmtree(self.directory, ignore_errors=True)

    def complete(self) -> bool:
        """Whether everything is put together."""
        return all(column.path.exists() for column in self.columns)

    def open(self) -> Encoded:
        """The complete vectors."""
        return Encoded(*(np.load(column.path, mmap_mode="r") for column in self.columns))

    def _assembled(self) -> int:
        """Shards that are in all files."""
        return min(column.shards() for column in self.columns)


class _Column:
    """One .npy file [N, width] that grows by whole shards; `partial` until it is complete."""

    def __init__(self, name: str, path: Path, dtype: str, count: int, width: int, size: int) -> None:
        self.name, self.path, self.dtype, self.width = name, path, np.dtype(dtype), width
        self.partial = path.with_name(path.name + ".partial")
        header = io.BytesIO()
        np.lib.format.write_array_header_1_0(header, {"descr": dtype, "fortran_order": False, "shape": (count, width)})
        self.header = header.getvalue()
        ends = [*range(size, count, size), count] if count else []
        row = self.dtype.itemsize * width
        self.lengths = [len(self.header) + end * row for end in (0, *ends)]

    def shards(self) -> int:
        """Whole shards in the file."""
        for path in (self.partial, self.path):  # in this order: the one becomes the other
            with suppress(FileNotFoundError):
                return max(0, bisect_right(self.lengths, path.stat().st_size) - 1)
        return 0

    def grow(self, shards: int) -> BinaryIO:
        """The file, cut after so many shards, to append the next ones."""
        file = growing(self.partial, self.lengths[shards] if shards else 0)
        if not shards:
            file.write(self.header)
        return file
