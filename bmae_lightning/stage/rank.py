"""Rank the passages of any collection: with BM25, with a retriever, with a model of sentence-transformers.

A ranker indexes once and is searched for the queries of every split; what it writes is freed when it is done.
"""

import copy
import gc
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property, partial
from hashlib import sha256
from itertools import tee
from pathlib import Path

import numpy as np
import torch

from bmae_lightning.corpus.collection import Collection
from bmae_lightning.corpus.records import Text
from bmae_lightning.corpus.tokens.store import TokenStore, write_token_store
from bmae_lightning.corpus.tokens.wordpiece import tokenizer_digest
from bmae_lightning.encoder.tokenizer import load_tokenizer
from bmae_lightning.evaluation.measure.trec import Run
from bmae_lightning.lit.share import Process, share
from bmae_lightning.retrieval.encode import encode_shards
from bmae_lightning.retrieval.foreign_model import LibraryModel, Retriever, blocks
from bmae_lightning.retrieval.index.bm25 import Bm25
from bmae_lightning.retrieval.index.exact import ExactIndex
from bmae_lightning.retrieval.index.faiss import FaissIndex
from bmae_lightning.retrieval.search import check_index, search
from bmae_lightning.retrieval.vector_files import VectorShards
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.process import process_rank
from bmae_lightning.runtime.progress import track


@dataclass(frozen=True)
class Settings:
    """How retrievers encode and are searched.

    Attributes:
        index: exact or faiss.
        batch_tokens: word pieces encoded at a time.
        shard: passages encoded per finished piece, what a killed run loses at most in each process.
        trainer: whose devices share the pieces; the first of them searches.
    """

    index: ExactIndex | FaissIndex
    batch_tokens: int
    shard: int
    trainer: partial

    @property
    def device(self) -> str:
        """The one that searches, as torch names it."""
        wants_gpu = self.trainer.keywords.get("accelerator", "auto") in ("gpu", "cuda", "auto")
        return "cuda" if wants_gpu and torch.cuda.is_available() else "cpu"


class Texts:
    """The passages of one collection as several rankers read them; every tokenizer reads them once.

    Args:
        collection: whose passages.
        directory: where token stores are made.
        made: a token store that is there already.
    """

    def __init__(self, collection: Collection, directory: Path, made: TokenStore | None = None) -> None:
        self.collection, self.directory, self.made = collection, directory, made

    @cached_property
    def count(self) -> int:
        """Passages; the first look at it reads the collection, so that a broken line is found before any work."""
        return len(self.made) if self.made is not None else self.collection.check().passages

    def contents(self) -> Iterator[tuple[str, str]]:
        """(id, text with its title) of every passage."""
        return ((passage.id, passage.content) for passage in self.collection.passages())

    def tokens(self, tokenizer_directory: Path, prefix: str, title: str) -> TokenStore:
        """Token ids of all passages behind `prefix`."""
        tokenizer = load_tokenizer(tokenizer_directory)
        digest = tokenizer_digest(tokenizer)
        if self.made is not None and not prefix and self.made.tokenizer_digest == digest:
            return self.made
        directory = self.directory / sha256(f"{digest} {prefix}".encode()).hexdigest()[:12]
        while process_rank() > 0 and not directory.is_dir():  # the first process writes it
            time.sleep(0.1)
        if directory.is_dir():
            return TokenStore(directory)
        once, again = tee(self.collection.passages())
        with track(f"{title}: tokenising", self.count, unit="passages") as advance:
            return write_token_store(
                directory, (_behind(prefix, passage.text_of(self.collection.title)) for passage in once),
                (passage.id for passage in again), tokenizer, progress=advance, kept=self.directory / "shards",
            )  # fmt: skip

    def free(self) -> None:
        """Delete the token stores that were made here."""
        shutil.rmtree(self.directory, ignore_errors=True)


def _behind(prefix: str, text: Text) -> Text:
    return prefix + text if isinstance(text, str) else (prefix + text[0], text[1])


class Ranker(ABC):
    """Ranks passages. All processes of a trainer index, the first one searches.

    title: of the stage, for progress.  directory: where vectors may lie.  rate: passages encoded per second, None where
    nothing was encoded.
    """

    rate: float | None = None

    def __init__(self, title: str, directory: Path) -> None:
        self.title, self.directory = title, directory

    @abstractmethod
    def index(self, texts: Texts) -> None:
        """Make what is searched; continues what a killed run has left in the directory."""

    @abstractmethod
    def search(self, queries: Mapping[str, str], depth: int) -> Run:
        """The `depth` best passages of every query (id -> text)."""

    def free(self) -> None:
        """Delete what was indexed; the memory goes with the ranker."""
        for path in [*self.directory.glob("passages.*"), *self.directory.glob("queries*")]:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


class Bm25Ranker(Ranker):
    """bm25: its settings; it is not changed."""

    def __init__(self, title: str, directory: Path, bm25: Bm25) -> None:
        super().__init__(title, directory)
        self.bm25 = copy.copy(bm25)

    def index(self, texts: Texts) -> None:
        ids: list[str] = []

        def contents() -> Iterator[str]:
            with track(f"{self.title}: indexing", texts.count, unit="passages") as advance:
                for id, text in texts.contents():
                    ids.append(id)
                    advance(1)
                    yield text

        self.bm25.index(contents(), ids)

    def search(self, queries: Mapping[str, str], depth: int) -> Run:
        with track(f"{self.title}: searching", len(queries), unit="queries") as advance:
            return self.bm25.search(list(queries), list(queries.values()), depth, advance)


class RetrieverRanker(Ranker):
    """A retriever that is, or becomes, our dual encoder."""

    def __init__(self, title: str, directory: Path, retriever: Retriever, settings: Settings) -> None:
        super().__init__(title, directory)
        self.retriever, self.settings, self.config = retriever, settings, retriever.layout.config
        self.model = retriever.dual_encoder()
        check_index(settings.index, self.model)

    def index(self, texts: Texts) -> None:
        length, batch_tokens = self.config.passage_length, self.settings.batch_tokens
        store = texts.tokens(self.retriever.tokenizer_directory(), self.config.passage_prefix, self.title)
        vectors = VectorShards(self.directory / "passages.npy", self.model, store, length, self.settings.shard)
        if process_rank() == 0:
            vectors.claim()

        def work(process: Process) -> None:
            process.wait_for(vectors.claimed)
            left, started = sum(len(vectors.rows(number)) for number in vectors.missing()), time.monotonic()
            with process.track(f"{self.title}: encoding", vectors, "passages") as advance:
                encode_shards(
                    self.model, store, vectors, length, batch_tokens, process.device, advance, process.rank,
                    process.world,
                )  # fmt: skip
            if process.rank == 0:
                process.wait_for(lambda: not vectors.missing())
                self.rate = left / (time.monotonic() - started) if left else None
                vectors.assemble()
            process.wait_for(vectors.complete)

        share(self.settings.trainer, self.model, work, self.title, self.directory, precision="32-true")
        self.vectors, self.ids = vectors.open(), store.external_ids

    def search(self, queries: Mapping[str, str], depth: int) -> Run:
        tokenizer = load_tokenizer(self.retriever.tokenizer_directory())
        prefixed = (self.config.query_prefix + text for text in queries.values())
        store, device = (
            write_token_store(self.directory / "queries", prefixed, queries, tokenizer),
            self.settings.device,
        )
        with track(f"{self.title}: searching", len(queries), unit="queries") as advance:
            scores, rows, _ = search(
                self.settings.index, self.model.to(device), self.vectors, store, np.arange(len(store)),
                self.config.query_length, self.settings.batch_tokens, device, depth, advance,
            )  # fmt: skip
        return Run.from_rows(list(queries), self.ids, rows, scores)


class LibraryRanker(Ranker):
    """A model that only the library sentence-transformers can run; it takes one device."""

    def __init__(self, title: str, directory: Path, retriever: Retriever, settings: Settings) -> None:
        super().__init__(title, directory)
        self.settings = settings
        if process_rank() == 0:
            self.model = LibraryModel(retriever, settings.device, settings.batch_tokens)

    def index(self, texts: Texts) -> None:
        if process_rank() > 0:
            return
        self.ids: list[str] = []
        started = time.monotonic()

        def contents() -> Iterator[str]:
            for id, text in texts.contents():
                self.ids.append(id)
                yield text

        with track(f"{self.title}: encoding", texts.count, unit="passages") as advance:
            self.paths = self.model.passages(contents(), self.directory, self.settings.shard, advance)
        self.rate = len(self.ids) / (time.monotonic() - started)

    def search(self, queries: Mapping[str, str], depth: int) -> Run:
        with track(f"{self.title}: searching", len(queries), unit="queries") as advance:
            vectors_QD = self.model.queries(list(queries.values()), advance)
            scores, rows = self.settings.index.search(
                blocks(self.paths), vectors_QD, depth, device=self.settings.device
            )
        return Run.from_rows(list(queries), self.ids, rows, scores)

    def free(self) -> None:
        super().free()
        del self.model
        gc.collect()  # what the library is made of may refer to itself


def make_ranker(title: str, directory: Path, model: Bm25 | Retriever, settings: Settings) -> Ranker:
    """The ranker of a model."""
    if isinstance(model, Bm25):
        return Bm25Ranker(title, directory, model)
    return (LibraryRanker if model.layout.library else RetrieverRanker)(title, directory, model, settings)


def judged_queries(collection: Collection, judged: Mapping[str, object]) -> dict[str, str]:
    """query id -> text of the judged queries, in the order of the collection.

    Raises:
        BadInput: a judged query without text.
    """
    texts = {query.id: query.text for query in collection.queries() if query.id in judged}
    if absent := [query for query in judged if query not in texts]:
        more = f" and {len(absent) - 1:,} more" if len(absent) > 1 else ""
        raise BadInput(
            f"{collection.name}: query {absent[0]!r}{more} is judged but not among the queries; add it, or remove its "
            "judgments"
        )
    return texts
