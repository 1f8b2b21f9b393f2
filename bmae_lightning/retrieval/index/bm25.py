"""Okapi BM25 with Lucene's idf, as bm25s weighs it.

score(q, p) = sum over query terms t of ln(1 + (N - df + 0.5) / (df + 0.5)) · tf / (tf + k1·(1 - b + b·|p| / mean |p|)).

Shapes: T terms, V terms of the vocabulary, P postings, N passages, Q queries, K ranks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from copy import copy
from functools import partial

import numpy as np

from bmae_lightning.evaluation.measure.trec import Run
from bmae_lightning.retrieval.index.analyzer import Analyzer
from bmae_lightning.runtime.checks import at_least
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.threads import in_order, processors

QUERIES_AT_ONCE = 256


class Bm25:
    """BM25 over the terms of an analyser; the defaults are Anserini's.

    Args:
        k1: how soon repeated words stop counting, at least 0 (0.82 is tuned for MS MARCO).
        b: how much long passages are discounted, 0 to 1 (0.68 is tuned for MS MARCO).
        analyzer, stemmer, stopwords: how texts become terms (`Analyzer`).
    """

    def __init__(
        self,
        k1: float = 0.9,
        b: float = 0.4,
        analyzer: str = "auto",
        stemmer: str | None = "auto",
        stopwords: str | None = "auto",
    ):
        at_least(0, k1=k1)
        if not 0 <= b <= 1:
            raise ValueError(f"b must be from 0 to 1, got {b}")
        self.k1, self.b = k1, b
        self.options = {"k1": k1, "b": b, "analyzer": analyzer, "stemmer": stemmer, "stopwords": stopwords}
        self.analyzer = Analyzer(analyzer, stemmer, stopwords)
        self.ids: list[str] = []

    def index(self, texts: Iterable[str], ids: Sequence[str]) -> None:
        """Index passages; texts are read once and not kept. ids: one for each text.

        Takes 4 B a term and 8 B a posting, about 3.5 GB for the 8.8 million passages of MS MARCO.

        Raises:
            BadInput: ids and texts differ in number, or no text holds a word.
        """
        from bmae_lightning.retrieval.index.postings import count, place, weigh

        self.analyzer = copy(self.analyzer)  # copies of a ranker may hold other collections
        pieces = list(self.analyzer.read(texts))
        passages, terms = sum(int((piece < 0).sum()) for piece in pieces), len(self.analyzer.numbers.stems)
        if passages != len(ids):
            raise BadInput(f"{passages:,} passages came with {len(ids):,} ids; give every passage one id")
        if not terms:
            raise BadInput("no passage has a word to index; check the texts, or set stopwords to null")
        length_N, count_V = np.zeros(passages, np.int32), np.zeros(terms, np.int64)
        last_V = np.full(terms, -1, np.int32)
        for term_T, passage_T in _with_passages(pieces):
            count(term_T, passage_T, length_N, count_V, last_V)
        self.start_V = np.concatenate([[0], np.cumsum(count_V)])
        self.passage_P = np.empty(self.start_V[-1], np.int32)
        self.weight_P = np.empty(self.start_V[-1], np.float32)
        head_V = self.start_V[:-1].copy()
        for term_T, passage_T in _with_passages(pieces):
            place(term_T, passage_T, self.start_V, head_V, self.passage_P, self.weight_P)
        norm_N = self.k1 * ((1 - self.b) + self.b * length_N / length_N.mean())
        idf_V = np.log(1 + (passages - count_V + 0.5) / (count_V + 0.5)).astype(np.float32)
        weigh(self.start_V, self.passage_P, self.weight_P, idf_V, norm_N)
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
        batches = (
            list(query_texts[start : start + QUERIES_AT_ONCE]) for start in range(0, len(query_texts), QUERIES_AT_ONCE)
        )
        rank = partial(self._rank, depth=min(depth, len(self.ids)))
        found, rows, scores = [np.empty(0, np.int64)], [np.empty(0, np.int32)], [np.empty(0, np.float32)]
        for found_Q, rows_R, scores_R in in_order(rank, batches, min(processors(), 16)):
            found.append(found_Q)
            rows.append(rows_R)
            scores.append(scores_R)
            if progress is not None:
                progress(len(found_Q))
        queries_R = np.repeat(np.arange(len(query_texts)), np.concatenate(found))
        return Run.from_entries(list(query_ids), self.ids, queries_R, np.concatenate(rows), np.concatenate(scores))

    def _rank(self, texts: list[str], depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """How many passages each query has, and rows and scores of all of them, in order."""
        from bmae_lightning.retrieval.index.postings import best

        terms_T = self.analyzer.terms(texts)
        query_T, vocabulary = np.cumsum(terms_T < 0), len(self.start_V)
        pair_T, times_T = np.unique((query_T * vocabulary + terms_T)[terms_T >= 0], return_counts=True)
        query_T, term_T = np.divmod(pair_T, vocabulary)  # a query's terms are added up in one fixed order
        end_Q = np.searchsorted(query_T, np.arange(1, len(texts) + 1))
        key_QK, found_Q = np.zeros((len(texts), depth), np.uint64), np.empty(len(texts), np.int64)
        best(
            term_T.astype(np.int32), times_T.astype(np.float32), end_Q, self.start_V, self.passage_P, self.weight_P,
            len(self.ids), key_QK, found_Q,
        )  # fmt: skip
        key_R = np.sort(key_QK, axis=1)[:, ::-1][np.arange(depth) < found_Q[:, None]]
        rows_R = ~key_R.astype(np.uint32)
        return found_Q, rows_R.astype(np.int32), (key_R >> np.uint64(32)).astype(np.uint32).view(np.float32)


def _with_passages(pieces: Iterable[np.ndarray]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The terms of each piece, and the passage that each stands in, counted over all pieces; both int32 [T]."""
    first = 0
    for terms_T in pieces:
        ends_T = terms_T < 0
        passage_T = first + np.cumsum(ends_T, dtype=np.int32)
        first = int(passage_T[-1])
        yield terms_T[~ends_T], passage_T[~ends_T]
