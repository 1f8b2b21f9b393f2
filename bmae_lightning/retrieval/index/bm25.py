"""Okapi BM25 with Lucene's idf: bm25s weighs the terms, one sparse product per batch of queries ranks the passages.

score(q, p) = sum over query words t of ln(1 + (N - df + 0.5) / (df + 0.5)) · tf / (tf + k1·(1 - b + b·|p| / mean |p|)).
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from bmae_lightning.evaluation.measure.trec import Run
from bmae_lightning.runtime.checks import at_least
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.threads import processors

POSTINGS_AT_ONCE = 4_000_000  # bounds the memory of one batch of queries: about 12 B each


class Bm25:
    """BM25 over the words of at least two letters, lower-cased; the defaults are Anserini's.

    Args:
        k1: how soon repeated words stop counting, at least 0 (0.82 is tuned for MS MARCO).
        b: how much long passages are discounted, 0 to 1 (0.68 is tuned for MS MARCO).
        stemmer: language of a Snowball stemmer, or null for none.
        stopwords: language of bm25s's list, or null to keep every word.
    """

    def __init__(self, k1: float = 0.9, b: float = 0.4, stemmer: str | None = "english", stopwords: str | None = "en"):
        at_least(0, k1=k1)
        if not 0 <= b <= 1:
            raise ValueError(f"b must be from 0 to 1, got {b}")
        Stemmer, bm25s = _libraries()
        if stemmer is not None and stemmer not in Stemmer.algorithms():
            raise ValueError(
                f"stemmer {stemmer!r} does not exist; choose null or one of {', '.join(Stemmer.algorithms())}"
            )
        self.k1, self.b, self.stemmer, self.stopwords = k1, b, stemmer, stopwords
        try:
            self._tokenizer()
        except ValueError as error:
            raise ValueError(
                f"stopwords {stopwords!r} is no list of bm25s, use a language code or null: {error}"
            ) from None
        self.ids: list[str] = []

    def index(self, texts: Iterable[str], ids: Sequence[str]) -> None:
        """Index passages; texts are read once and not kept. ids: one for each text.

        Raises:
            BadInput: ids and texts differ in number, or no text holds a word.
        """
        from scipy.sparse import csr_matrix

        _, bm25s = _libraries()
        self.words = self._tokenizer()
        passages = _Words()
        for words in self.words.streaming_tokenize(texts, update_vocab=True, allow_empty=False):
            passages.append(words)
        if len(passages) != len(ids):
            raise BadInput(f"{len(passages):,} passages came with {len(ids):,} ids; give every passage one id")
        if not passages.values:
            raise BadInput("no passage has a word to index; check the texts, or set stopwords to null")
        vocabulary = self.words.get_vocab_dict()
        weights = bm25s.BM25(k1=self.k1, b=self.b, method="lucene", backend="numpy")
        table = weights.build_index_from_ids(range(len(vocabulary)), passages, show_progress=False)
        shape = (len(vocabulary), len(ids))
        self.postings = csr_matrix((table["data"], table["indices"], table["indptr"]), shape=shape)
        self.ids = list(ids)

    def search(
        self,
        query_ids: Sequence[str],
        query_texts: Sequence[str],
        depth: int,
        progress: Callable[[int], None] | None = None,
    ) -> Run:
        """The best `depth` passages of every query, ties in the order of the corpus.

        Passages that share no word with the query are never returned, so a list may be short or empty.
        progress: called with the number of queries finished since the last call.

        Raises:
            BadInput: nothing is indexed.
        """
        if not self.ids:
            raise BadInput("BM25 was asked to search before a corpus was indexed; call index first")
        at_least(1, depth=depth)
        words = list(self.words.streaming_tokenize(query_texts, update_vocab=False, allow_empty=False))
        rows, scores = [], []
        with ThreadPoolExecutor(min(processors(), 16)) as threads:
            for hits in threads.map(lambda batch: self._rank(batch, depth), self._batches(words)):
                rows += [row for row, _ in hits]
                scores += [score for _, score in hits]
                if progress is not None:
                    progress(len(hits))
        return Run.from_rows(query_ids, self.ids, rows, scores)

    def _batches(self, words: list[list[int]]) -> Iterator[list[list[int]]]:
        lengths, batch, postings = np.diff(self.postings.indptr), [], 0
        for query in words:
            cost = int(lengths[query].sum()) if query else 0
            if batch and (postings + cost > POSTINGS_AT_ONCE or len(batch) == 64):
                yield batch
                batch, postings = [], 0
            batch.append(query)
            postings += cost
        if batch:
            yield batch

    def _rank(self, words: list[list[int]], depth: int) -> list[tuple[np.ndarray, np.ndarray]]:
        from scipy.sparse import csr_matrix

        ends = np.cumsum([0, *map(len, words)])
        flat = np.array([word for query in words for word in query], dtype=np.int32)
        shape = (len(words), self.postings.shape[0])
        queries = csr_matrix((np.ones(len(flat), dtype=np.float32), flat, ends), shape=shape)
        queries.sum_duplicates()  # a word said twice counts twice, and words are added up in one fixed order
        found = queries @ self.postings
        return [
            _best(found.indices[start:end], found.data[start:end], depth)
            for start, end in zip(found.indptr[:-1], found.indptr[1:], strict=True)
        ]

    def _tokenizer(self):
        Stemmer, bm25s = _libraries()
        stemmer = Stemmer.Stemmer(self.stemmer) if self.stemmer else None
        return bm25s.tokenization.Tokenizer(stemmer=stemmer, stopwords=self.stopwords)


class _Words:
    """Word numbers of every passage in one flat array: 4 B a word, where lists of lists take about 40."""

    def __init__(self) -> None:
        self.values, self.ends = array("i"), array("q", [0])

    def append(self, words: list[int]) -> None:
        self.values.extend(words)
        self.ends.append(len(self.values))

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __iter__(self) -> Iterator[list[int]]:
        for i in range(len(self)):
            yield self.values[self.ends[i] : self.ends[i + 1]].tolist()


def _best(rows: np.ndarray, scores: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    """The `depth` highest scores, falling, lower row first where they are equal."""
    kept = scores > 0
    rows, scores = rows[kept], scores[kept]
    if len(rows) > depth:
        kept = scores >= np.partition(scores, len(scores) - depth)[len(scores) - depth]
        rows, scores = rows[kept], scores[kept]
    order = np.lexsort((rows, -scores))[:depth]
    return rows[order], scores[order]


def _libraries():
    try:
        import bm25s
        import bm25s.tokenization
        import Stemmer
    except ImportError as error:
        raise BadInput(f"BM25 needs {error.name}; run: pip install bm25s PyStemmer") from error
    return Stemmer, bm25s
