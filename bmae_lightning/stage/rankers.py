"""What ranks the passages of a collection: BM25, a dual encoder, a model that only sentence-transformers can run."""

from __future__ import annotations

import copy
import gc
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.evaluation.measure.trec import Run
from bmae_lightning.retrieval.foreign_model import LibraryModel, Retriever
from bmae_lightning.retrieval.index.bm25 import Bm25
from bmae_lightning.retrieval.index.index import Index
from bmae_lightning.retrieval.retriever_config import RetrieverConfig
from bmae_lightning.retrieval.search import FoundShards, check_index, search
from bmae_lightning.retrieval.vector_files import Encoded, VectorShards
from bmae_lightning.runtime.checks import at_least
from bmae_lightning.runtime.cost import READ, Cost, Shape, Sizes
from bmae_lightning.runtime.process import print_once, process_rank
from bmae_lightning.runtime.progress import track
from bmae_lightning.runtime.stage import device_of
from bmae_lightning.stage.rank import Ranker, Search, Shared
from bmae_lightning.stage.texts import Texts

if TYPE_CHECKING:
    from bmae_lightning.lit.share import Process
    from bmae_lightning.retrieval.dual_encoder import DualEncoder


@dataclass(kw_only=True)
class Encoding(Shared):
    """How a retriever encodes and is searched: options of the stages that do so, which derive from it.

    Args:
        index: exact or faiss; one that is built first is searched by the first process alone.
        query_shard: queries searched for per finished piece, None for all at once.
    """

    index: Index
    query_shard: int | None = None

    def check_sizes(self) -> None:
        super().check_sizes()
        at_least(1, query_shard=self.query_shard)


def encoding_cost(network: Shape, sizes: Sizes, length: int, vector: Mapping[str, Any] | None = None) -> Cost:
    """Of encoding the passages of a collection, which are cut to `length`.

    vector: options of the representation whose vectors stay on disk, None where none do.
    """
    kept = 0 if vector is None else 4 * vector.get("dense", network.width) + 6 * vector.get("lexical", 0)
    flops = READ * sizes.passages * sizes.tokens(length) * network.body
    return Cost(encoded=sizes.passages, flops=flops, disk=sizes.passages * kept)


@dataclass
class TextRanker(Ranker):
    """Ranks by texts in the first process, while the others wait for the stage.

    Args:
        texts: the collection.
        model: BM25, or a model that only sentence-transformers can run.
    """

    texts: Texts
    model: Bm25 | LibraryModel

    def rank(self, searches: Sequence[Search], write: Callable[[Search, Run], None]) -> bool:
        left = [(wanted, self.texts.queries(wanted)) for wanted in searches if not wanted.done]
        if not left or process_rank() > 0:
            return True
        self._index()
        for wanted, queries in left:
            with track(f"{self.title}: {wanted.split}", len(queries), unit="queries") as advance:
                run = self.model.search(list(queries), list(queries.values()), wanted.depth, advance)
            self._tell_silent(wanted.split, run)
            write(wanted, run)
        return True

    def _tell_silent(self, split: str, run: Run) -> None:
        """Say how many queries found nothing: their words are not in the collection, or are no words of its script."""
        if silent := sum(not run.passages(query) for query in run):
            share = silent / len(run)
            advice = "; set bm25.analyzer to one that fits their script and language" if share >= 0.5 else ""
            print_once(
                f"WARNING: {self.title}: {silent:,} of {len(run):,} queries of {split} ({share:.2%}) share no term "
                f"with any passage{advice}"
            )

    def _index(self) -> None:
        """Have the model read all passages; a library's model continues what a killed run has left in the directory."""
        ids: list[str] = []
        started = time.monotonic()

        def contents() -> Iterator[str]:
            with track(f"{self.title}: indexing", self.texts.count, unit="passages") as advance:
                for id, text in self.texts.contents():
                    ids.append(id)
                    advance(1)
                    yield text

        self.model.index(contents(), ids)
        if isinstance(self.model, Bm25):
            self.figures["language"] = self.model.analyzer.language
        else:
            self.figures["passages_per_second"] = len(ids) / (time.monotonic() - started)

    def free(self) -> None:
        super().free()
        del self.model
        gc.collect()  # what a library is made of may refer to itself


@dataclass
class DualEncoderRanker(Ranker):
    """Encodes the passages of a token store with a dual encoder and searches them with an index.

    Passages and queries come in pieces of a fixed size, which the devices share: how many there are changes no digit.

    Args:
        model: in evaluation mode.
        config: lengths of texts.
        passages: their token store.
        queries: the token store in which the queries of a search are, and their ids in the order of the run.
        encoding: how it encodes and searches.
    """

    model: DualEncoder
    config: RetrieverConfig
    passages: TokenStore
    queries: Callable[[Search], tuple[TokenStore, Sequence[str]]]
    encoding: Encoding

    def __post_init__(self) -> None:
        path, length = self.directory / "passages.npy", self.config.passage_length
        self.vectors = VectorShards(path, self.model, self.passages, length, self.encoding.shard)

    def rank(self, searches: Sequence[Search], write: Callable[[Search, Run], None]) -> bool:
        from bmae_lightning.lit.share import share

        left = [(wanted, self._pieces(wanted)) for wanted in searches if not wanted.done]
        if process_rank() == 0:
            self.directory.mkdir(parents=True, exist_ok=True)
            self.vectors.claim()
        finished = []

        def work(process: Process) -> None:
            encoded = self._encode(process)
            for wanted, pieces in left:
                self._search(process, encoded, wanted.split, pieces)
            if process.rank == 0:
                for wanted, pieces in left:
                    process.wait_for(pieces.complete)
                    write(wanted, pieces.run(self.passages.external_ids))
            process.wait_for(lambda: all(wanted.done for wanted in searches))
            self.figures["index_bytes"] = sum(part.nbytes for part in encoded if part is not None)
            finished.append(True)

        share(self.encoding.trainer, self.model, work, self.title, self.directory, precision="32-true")
        return bool(finished)

    def _pieces(self, wanted: Search) -> FoundShards:
        store, queries = self.queries(wanted)
        size = self.encoding.query_shard if self.encoding.index.in_pieces else None
        directory = self.directory / "checkpoints" / wanted.split
        depth = min(wanted.depth, len(self.passages))
        return FoundShards(directory, store, queries, size or max(1, len(queries)), depth)

    def _encode(self, process: Process) -> Encoded:
        """The vectors of all passages, once every process has made its share."""
        from bmae_lightning.retrieval.encode import encode_shards

        vectors = self.vectors
        process.wait_for(vectors.claimed)
        left, started = sum(len(vectors.rows(number)) for number in vectors.missing()), time.monotonic()
        with process.track(f"{self.title}: encoding", vectors, "passages") as advance:
            encode_shards(
                self.model, self.passages, vectors, self.config.passage_length, self.encoding.batch_tokens,
                process.device, advance, process.rank, process.world,
            )  # fmt: skip
        if process.rank == 0:
            process.wait_for(lambda: not vectors.missing())
            if left:
                self.figures["passages_per_second"] = left / (time.monotonic() - started)
            vectors.assemble()
        process.wait_for(vectors.complete)
        return vectors.open()

    def _search(self, process: Process, encoded: Encoded, split: str, pieces: FoundShards) -> None:
        """Find the passages of this process's share of the queries."""
        numbers, seconds = pieces.missing(process.rank, process.world), 0.0
        with process.track(f"{self.title}: {split}", pieces, "queries") as advance:
            for number in numbers:
                found = search(
                    self.encoding.index, self.model, encoded, pieces.store, pieces.rows_of(number),
                    self.config.query_length, self.encoding.batch_tokens, process.device, pieces.depth, advance,
                )  # fmt: skip
                pieces.write_found(number, found)
                seconds += found.seconds
        if numbers:
            queries = sum(len(pieces.rows(number)) for number in numbers)
            self.costs[split] = {"milliseconds_per_query": 1000 * seconds / queries}


def make_ranker(
    title: str, directory: Path, texts: Texts, model: Bm25 | Retriever, encoding: Encoding
) -> Ranker:  # fmt: skip
    """The ranker of a model: BM25, a retriever that becomes our dual encoder, or one that needs its library.

    Raises:
        BadInput: an index that cannot search what the model makes.
    """
    if isinstance(model, Bm25):
        return TextRanker(title, directory, texts, copy.copy(model))  # the model of the options stays as it is
    if model.layout.library:
        device = device_of(encoding.trainer.keywords.get("accelerator", "auto"))
        library = LibraryModel(model, device, encoding.batch_tokens, directory, encoding.shard, encoding.index)
        return TextRanker(title, directory, texts, library)
    config, tokenizer, dual_encoder = model.layout.config, model.tokenizer_directory(), model.dual_encoder()
    check_index(encoding.index, dual_encoder.representation.lexical)
    passages = texts.tokens(tokenizer, config.passage_prefix, title)

    def queries(search: Search) -> tuple[TokenStore, Sequence[str]]:
        store = texts.query_tokens(tokenizer, config.query_prefix, search, title)
        return store, store.external_ids

    return DualEncoderRanker(title, directory, dual_encoder, config, passages, queries, encoding)
