"""TREC runs and judgments: what a ranker returns, in memory and as the files that trec_eval reads.

A run keeps arrays, not nested dictionaries, so that 500,000 queries with 200 passages each fit into about 1.3 GB.
Shapes: Q queries, K ranks, T entries of the whole run.
"""

from __future__ import annotations

import math
from array import array
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np

from bmae_lightning.corpus.lines import as_text, raw_lines
from bmae_lightning.corpus.qrels_lines import judged_pairs
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import writing_text

Qrels = dict[str, dict[str, int]]
RUN = "qid Q0 docid rank score tag"
"""Columns of a run."""


class Run(Mapping):
    """Query id -> [(passage id, score), ...] in rank order; read-only.

    Args:
        rankings: query id -> list of (passage id, score), whose order is kept, or query id -> {passage id: score},
            which is sorted as trec_eval sorts: score as float32 falling, ties by passage id falling.
    """

    def __init__(self, rankings: Mapping[str, Sequence[tuple[str, float]] | Mapping[str, float]] | None = None) -> None:
        code: dict[str, int] = {}
        codes, scores, offsets, unsorted = array("i"), array("d"), array("q", [0]), False
        for ranking in (rankings or {}).values():
            unsorted = unsorted or isinstance(ranking, Mapping)
            for passage, score in ranking.items() if isinstance(ranking, Mapping) else ranking:
                codes.append(code.setdefault(str(passage), len(code)))
                scores.append(score)
            offsets.append(len(codes))
        self._set([str(query) for query in rankings or {}], list(code), _view(offsets), _view(codes), _view(scores))
        if unsorted:
            ranked = (isinstance(ranking, Mapping) for ranking in rankings.values())
            self._sort(np.fromiter(ranked, dtype=bool, count=len(self)))

    @classmethod
    def from_rows(
        cls, queries: Sequence[str], passages: Sequence[str], rows: Sequence[np.ndarray], scores: Sequence[np.ndarray]
    ) -> Run:
        """The result of a search.

        queries: Q ids.  passages: id of each row of the corpus.
        rows: [Q, K] or Q arrays of any length, in rank order; negative rows (nothing found) are left out.
        scores: the same shape.
        """
        kept = [np.asarray(row) >= 0 for row in rows]
        offsets = np.zeros(len(kept) + 1, dtype=np.int64)
        np.cumsum([int(keep.sum()) for keep in kept], out=offsets[1:])
        codes = np.empty(offsets[-1], dtype=np.int32)
        values = np.empty(offsets[-1], dtype=np.asarray(scores[0]).dtype if len(scores) else np.float32)
        for i, keep in enumerate(kept):
            codes[offsets[i] : offsets[i + 1]] = np.asarray(rows[i])[keep]
            values[offsets[i] : offsets[i + 1]] = np.asarray(scores[i])[keep]
        return cls.__new__(cls)._set(list(queries), passages, offsets, codes, values)

    @classmethod
    def from_entries(
        cls, queries: list[str], passages: list[str], rows_T: np.ndarray, codes_T: np.ndarray, scores_T: np.ndarray
    ) -> Run:
        """A run of lines, of which each query keeps its own in their order.

        queries, passages: the ids that occur.  rows_T, codes_T: which of them each line has.
        """
        order_T = np.argsort(rows_T, kind="stable")
        offsets_Q = np.concatenate([[0], np.cumsum(np.bincount(rows_T, minlength=len(queries)))]).astype(np.int64)
        return cls.__new__(cls)._set(queries, passages, offsets_Q, codes_T[order_T], scores_T[order_T])

    def _set(
        self, queries: list[str], names: Sequence[str], offsets_Q: np.ndarray, codes_T: np.ndarray, scores_T: np.ndarray
    ) -> Run:
        if len(queries) != len(offsets_Q) - 1:
            raise ValueError(f"{len(queries)} queries but {len(offsets_Q) - 1} rankings")
        if np.isnan(scores_T).any():
            query = queries[int(np.searchsorted(offsets_Q, np.flatnonzero(np.isnan(scores_T))[0], side="right")) - 1]
            raise BadInput(f"the ranking of query {query} has a score that is not a number; the model diverged")
        self._queries, self._names = queries, names
        self._offsets, self._codes, self._scores = offsets_Q, codes_T, scores_T
        self._row = {query: row for row, query in enumerate(queries)}
        if len(self._row) != len(queries):
            raise ValueError("a query id occurs twice in a run; give every query one ranking")
        return self

    def _span(self, query: str) -> slice:
        row = self._row[query]
        return slice(self._offsets[row], self._offsets[row + 1])

    def __getitem__(self, query: str) -> list[tuple[str, float]]:
        return list(zip(self.passages(query), self._scores[self._span(query)].tolist(), strict=True))

    def __iter__(self) -> Iterator[str]:
        return iter(self._queries)

    def __len__(self) -> int:
        return len(self._queries)

    def __contains__(self, query: object) -> bool:
        return query in self._row

    def __repr__(self) -> str:
        return f"Run({len(self):,} queries, {len(self._codes):,} entries)"

    @property
    def depth(self) -> int:
        """Ranks of the longest ranking."""
        return int(np.diff(self._offsets).max(initial=0))

    def passages(self, query: str) -> list[str]:
        """Passage ids of a query in rank order."""
        return [self._names[code] for code in self._codes[self._span(query)].tolist()]

    def columns(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Query id, passage id, rank from 1 and score of every entry: [T] each, ids as objects."""
        used_U, place_T = np.unique(self._codes, return_inverse=True)
        names_U = np.array([self._names[code] for code in used_U.tolist()], dtype=object)
        queries_T = np.repeat(np.array(self._queries, dtype=object), np.diff(self._offsets))
        return queries_T, names_U[place_T], self._ranks() + 1, self._scores

    def cut(self, depth: int) -> Run:
        """The first `depth` ranks of every query."""
        keep_T = self._ranks() < depth
        offsets_Q = np.concatenate([[0], np.cumsum(np.minimum(np.diff(self._offsets), depth))])
        return Run.__new__(Run)._set(self._queries, self._names, offsets_Q, self._codes[keep_T], self._scores[keep_T])

    def without_identical(self) -> Run:
        """Without passages that have the id of their query.

        BEIR's rule: in ArguAna and Quora the query is itself a passage of the corpus, and finding it does not count.
        """
        keep_T = np.ones(len(self._codes), dtype=bool)
        for query, start in zip(self._queries, self._offsets.tolist(), strict=False):
            if query in (passages := self.passages(query)):
                keep_T[start + passages.index(query)] = False
        offsets_Q = np.concatenate([[0], np.cumsum(keep_T)])[self._offsets]
        return Run.__new__(Run)._set(self._queries, self._names, offsets_Q, self._codes[keep_T], self._scores[keep_T])

    def _ranks(self) -> np.ndarray:
        """Rank of every entry, from 0: [T]."""
        return np.arange(len(self._codes)) - np.repeat(self._offsets[:-1], np.diff(self._offsets))

    def check_pairs(self, path: str | Path) -> None:
        """Raise BadInput, which names the file, where a query lists a passage twice."""
        rows_T = np.repeat(np.arange(len(self)), np.diff(self._offsets))
        pair_T = np.sort(rows_T * max(len(self._names), 1) + self._codes)
        twice = pair_T[1:][pair_T[1:] == pair_T[:-1]]
        if len(twice):
            row, code = divmod(int(twice[0]), len(self._names))
            query, passage = self._queries[row], self._names[code]
            raise BadInput(f"{path}: query {query} lists passage {passage} twice; keep one line of each")

    def sort(self) -> Run:
        """Put every query into the order of trec_eval; returns the run itself."""
        self._sort(np.ones(len(self), dtype=bool))
        return self

    def _sort(self, chosen_Q: np.ndarray) -> None:
        """Put the chosen queries into the order of trec_eval."""
        lengths_Q = np.diff(self._offsets)
        falling = sorted(range(len(self._names)), key=self._names.__getitem__, reverse=True)
        name_order = np.empty(len(falling), dtype=np.int64)
        name_order[falling] = np.arange(len(falling))
        chosen_T = np.repeat(chosen_Q, lengths_Q)
        first_T = np.where(chosen_T, -self._scores.astype(np.float32), 0)
        second_T = np.where(chosen_T, name_order[self._codes], self._ranks())
        order_T = np.lexsort((second_T, first_T, np.repeat(np.arange(len(self)), lengths_Q)))
        self._codes, self._scores = self._codes[order_T], self._scores[order_T]


def write_run(path: str | Path, run: Run, tag: str) -> None:
    """Write `qid Q0 docid rank score tag` lines; gzipped where the name ends in .gz; the file appears when it is whole.

    The score column falls by one from rank to rank, because trec_eval ignores ranks and compares scores as float32:
    with the scores of the model ties would be ordered anew.

    Raises:
        BadInput: an id holds white space, which the format cannot carry.
    """
    with writing_text(path) as file:
        write_run_lines(file, run, tag, path)


def write_run_lines(file: TextIO, run: Run, tag: str, path: str | Path) -> None:
    """As `write_run`, into an open file; path: its name, for messages."""
    tag = "-".join(tag.split()) or "run"
    for query in run:
        passages = run.passages(query)
        for name in (query, *passages):
            if not name or len(name.split()) != 1:
                raise BadInput(f"{path}: the id {name!r} is empty or holds white space; a TREC run cannot carry it")
        file.writelines(f"{query} Q0 {p} {i + 1} {len(passages) - i} {tag}\n" for i, p in enumerate(passages))


def read_run(path: str | Path, heading: bool = False) -> Run:
    """Read a TREC run, gzipped where the name ends in .gz, and sort it as trec_eval does (the rank column is ignored).

    heading: whether the first line is none of the run.

    Raises:
        BadInput: no such file, or a line that is not `qid Q0 docid rank score tag`; names file and line.
    """
    query_code: dict[str, int] = {}
    code: dict[str, int] = {}
    rows, codes, scores = array("i"), array("i"), array("d")
    for number, fields in islice(_lines(path), int(heading), None):
        try:
            score = float(fields[4])
        except ValueError:
            score = math.nan
        if math.isnan(score):
            raise BadInput(f"{path}:{number}: the score {fields[4]!r} is not a number")
        rows.append(query_code.setdefault(fields[0], len(query_code)))
        codes.append(code.setdefault(fields[2], len(code)))
        scores.append(score)
    run = Run.from_entries(list(query_code), list(code), _view(rows), _view(codes), _view(scores))
    run.check_pairs(path)
    return run.sort()


def write_qrels(path: str | Path, qrels: Mapping[str, Mapping[str, int]]) -> None:
    """Write judgments as `qid 0 docid relevance` lines; gzipped where the name ends in .gz."""
    with writing_text(path) as file:
        for query, judged in qrels.items():
            file.writelines(f"{query} 0 {passage} {relevance}\n" for passage, relevance in judged.items())


def read_rankings(path: str | Path, queries: Collection[str]) -> dict[str, list[str]]:
    """The passages of some queries of a TREC run, in the order of `read_run`, without keeping the rest in memory.

    Raises:
        BadInput: no such file, or a line that is not `qid Q0 docid rank score tag`.
    """
    found: dict[str, list[tuple[np.float32, str]]] = {}
    for _, (query, _, passage, _, score, _) in _lines(path):
        if query in queries:
            found.setdefault(query, []).append((np.float32(score), passage))
    return {query: [passage for _, passage in sorted(hits, reverse=True)] for query, hits in found.items()}


def read_qrels(path: str | Path) -> Qrels:
    """Read judgments: query id -> passage id -> relevance.

    Lines are TREC's `query 0 passage grade`, BEIR's `query-id corpus-id score`, after this header or not, or MS MARCO's
    pairs `query passage`, all of which are relevant.

    Raises:
        BadInput: no such file, a line of another form, or two different judgments of one pair.
    """
    qrels: Qrels = {}
    for number, (query, passage, relevance) in judged_pairs(Path(path)).numbered():
        if qrels.setdefault(query, {}).setdefault(passage, relevance) != relevance:
            raise BadInput(f"{path}:{number}: passage {passage} has two judgments for query {query}; keep one")
    return qrels


def _lines(path: str | Path) -> Iterator[tuple[int, list[str]]]:
    """Number and fields of every line of a run that is not blank."""
    for number, line in raw_lines(Path(path)):
        fields = as_text(path, number, line).split()
        if len(fields) != 6:
            raise BadInput(f"{path}:{number}: {len(fields)} columns where `{RUN}` is expected")
        yield number, fields


def _view(values: array) -> np.ndarray:
    return np.frombuffer(values, dtype=values.typecode) if len(values) else np.empty(0, dtype=values.typecode)


def run_of_lists(lists: Iterable[tuple[str, Sequence[str]]]) -> Run:
    """A run of (query id, passage ids in rank order), with scores that fall by one.

    It takes four bytes of memory for an entry, and the ids of the passages.
    """
    code: dict[str, int] = {}
    queries, rows = [], []
    for query, passages in lists:
        queries.append(query)
        rows.append(np.array([code.setdefault(passage, len(code)) for passage in passages], dtype=np.int32))
    scores = [np.arange(len(row), 0, -1, dtype=np.float32) for row in rows]
    return Run.from_rows(queries, list(code), rows, scores)
