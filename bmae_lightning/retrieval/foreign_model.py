"""A retriever from elsewhere: find it, name its content, load it; a checkpoint becomes our dual encoder.

Texts are encoded by the same code as for our own retrievers, unless it takes the library sentence-transformers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bmae_lightning.encoder.checkpoint import find_checkpoint
from bmae_lightning.encoder.pretrained import load_config, load_masked_lm
from bmae_lightning.encoder.tokenizer import load_tokenizer
from bmae_lightning.evaluation.measure.trec import Run
from bmae_lightning.retrieval.index.index import Index
from bmae_lightning.retrieval.model_options import ModelOptions
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.file_digest import file_digest
from bmae_lightning.runtime.files import write_array

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from bmae_lightning.encoder.model import Encoder
    from bmae_lightning.retrieval.checkpoint_layout import Layout
    from bmae_lightning.retrieval.dual_encoder import DualEncoder

CONTENT = (".json", ".txt", ".model", ".safetensors", ".bin")
"""Files that a model is made of."""
AT_ONCE = 2048
"""Texts handed to the library at a time, which it sorts by length."""


@dataclass(frozen=True)
class Retriever:
    """A retriever whose files were found.

    Attributes:
        label: its name in tables.
        options: what was asked for.
        layout: how it makes vectors.
        key: configuration key, for messages.
    """

    label: str
    options: ModelOptions
    layout: Layout
    key: str

    @cached_property
    def identity(self) -> str:
        """SHA-256 of the model's files and of how it is used."""
        directory, total = self.layout.directory, hashlib.sha256()
        for path in sorted(path for path in directory.rglob("*") if path.suffix in CONTENT and path.is_file()):
            total.update(f"{path.relative_to(directory)} {file_digest(path)}\n".encode())
        total.update(repr(sorted(asdict(self.layout.config).items())).encode())
        return total.hexdigest()

    def record(self) -> dict[str, Any]:
        """How texts become vectors, for reports."""
        names = (
            "pooling", "similarity", "query_length", "passage_length", "query_prefix", "passage_prefix", "segments",
        )  # fmt: skip
        config = self.layout.config
        return {"directory": str(self.layout.directory)} | {name: getattr(config, name) for name in names}

    def dual_encoder(self) -> DualEncoder:
        """The model in evaluation mode; not for layouts that need the library.

        Raises:
            BadInput: weights that are missing or of another shape.
        """
        from safetensors.torch import load_file

        from bmae_lightning.retrieval.dual_encoder import DualEncoder, load_dual_encoder, representation_of

        layout = self.layout
        if layout.recorded:
            return load_dual_encoder(layout.directory)[0]
        first, *others = (self._encoder(directory) for directory in layout.encoders)
        config = layout.config
        model = DualEncoder(first, representation_of(config), config.similarity, segments=config.segments)
        model.passage_encoder = others[0] if others else None
        if layout.dense[0] is not None:
            try:
                model.representation.projection.weight.data.copy_(load_file(layout.dense[0])["linear.weight"])
            except (OSError, KeyError, RuntimeError) as error:
                raise BadInput(f"{self.key}: {layout.dense[0]} cannot be read ({error}); download it again") from error
        return model.eval()

    def tokenizer_directory(self) -> Path:
        return self.layout.directory if self.layout.recorded else self.layout.encoders[0]

    def _encoder(self, directory: Path) -> Encoder:
        from bmae_lightning.encoder.model import Encoder
        from bmae_lightning.encoder.vocabulary import Vocabulary

        size = load_config(str(directory), self.key).vocab_size
        masked_lm, _ = load_masked_lm(str(directory), size, None, self.key)
        return Encoder(masked_lm, Vocabulary(load_tokenizer(directory)))


def find_retriever(label: str, options: ModelOptions, key: str) -> Retriever:
    """Find the files of a model and recognise their layout, without reading weights.

    Raises:
        BadInput: not found, or no layout that is known.
    """
    from bmae_lightning.retrieval.checkpoint_layout import read_layout

    directory = find_checkpoint(options.name, options.package, key=key, whole=True)
    return Retriever(label, options, read_layout(directory, options, key), key)


class LibraryModel:
    """A model of the library sentence-transformers, whatever it is made of; it takes one device.

    Args:
        retriever: a retriever whose layout needs the library.
        device: as torch names it.
        batch_tokens: word pieces encoded at a time.
        directory: where vectors lie.
        shard: passages per file of vectors.
        ranker: searches the vectors.
    """

    def __init__(
        self, retriever: Retriever, device: str, batch_tokens: int, directory: Path, shard: int, ranker: Index
    ) -> None:
        self.retriever, self.config, self.device = retriever, retriever.layout.config, device
        self.batch_tokens, self.directory, self.shard, self.ranker = batch_tokens, directory, shard, ranker

    @cached_property
    def model(self) -> SentenceTransformer:
        from sentence_transformers import SentenceTransformer

        directory = str(self.retriever.layout.directory)
        try:
            model = SentenceTransformer(directory, device=self.device, local_files_only=True)
        except Exception as error:  # what a model of other people raises cannot be told beforehand
            raise BadInput(
                f"{self.retriever.key}: sentence-transformers cannot load {directory} "
                f"({type(error).__name__}: {str(error).strip().splitlines()[0]})"
            ) from error
        self.own_length = model.max_seq_length
        return model

    def index(self, texts: Iterable[str], ids: Sequence[str]) -> None:
        """Encode passages into files, one .npy [M, D] a shard; those already there are kept. ids: one for each text."""
        self.paths, rest = [], iter(texts)
        while some := list(islice(rest, self.shard)):
            self.paths.append(self.directory / f"passages.{len(self.paths):05}.npy")
            if not self.paths[-1].is_file():
                length, prefix = self.config.passage_length, self.config.passage_prefix
                write_array(self.paths[-1], self._encode(self.model.encode_document, some, length, prefix))
        self.ids = ids

    def search(
        self, query_ids: Sequence[str], query_texts: list[str], depth: int, progress: Callable[[int], None]
    ) -> Run:
        """The best `depth` passages of every query; `progress` is told of finished queries."""
        length, prefix = self.config.query_length, self.config.query_prefix
        vectors_QD = self._encode(self.model.encode_query, query_texts, length, prefix, progress)
        scores, rows = self.ranker.search(self._blocks(), vectors_QD, depth, device=self.device)
        return Run.from_rows(query_ids, self.ids, rows, scores)

    def _blocks(self) -> Iterator[tuple[int, np.ndarray]]:
        """(first row, rows [M, D]) of every file."""
        start = 0
        for path in self.paths:
            rows_MD = np.load(path, mmap_mode="r")
            yield start, rows_MD
            start += len(rows_MD)

    def _encode(
        self, encode: Callable[..., np.ndarray], texts: list[str], length: int | None, prefix: str,
        advance: Callable[[int], None] = lambda count: None,
    ) -> np.ndarray:  # fmt: skip
        """Vectors [N, D] float32 of texts, AT_ONCE at a time, of which `advance` is told."""
        self.model.max_seq_length = longest = length or self.own_length
        batch = max(1, self.batch_tokens // (longest or AT_ONCE))
        parts = []
        for start in range(0, len(texts), AT_ONCE):
            part = encode(
                texts[start : start + AT_ONCE], prompt=prefix, batch_size=batch, convert_to_numpy=True,
                normalize_embeddings=self.config.similarity == "cos", show_progress_bar=False,
            )  # fmt: skip
            parts.append(np.asarray(part, dtype=np.float32))
            advance(len(part))
        return np.concatenate(parts)
