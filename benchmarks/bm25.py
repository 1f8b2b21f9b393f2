"""BM25 side by side with bm25s' numba back end: CPU time of a search with the queries' texts, and of indexing.

Both sides run in one process with one thread, take turns, stem and drop the same words; tokenising counts on both.
The scores of the first ranks must agree. Ratios are those of the other side's CPU seconds to ours, above 1 where ours
is faster, as median [lowest, highest].

python benchmarks/bm25.py [--sizes 10000,30000,120000] [--queries 1000] [--k 200] [--repeats 7] [--path corpus.jsonl.gz]
Without `--path`: passages of made-up words, as common as words are, and queries of words of a passage.
"""

import argparse
import gzip
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import bm25s
import numpy as np
import Stemmer
from bm25s.tokenization import Tokenizer

from bmae_lightning.retrieval.index import bm25

WORDS, MEAN = 200_000, 78
QUERY = (3, 16)
"""Least and greatest number of words of a query: 9.5 in the mean."""


def made_up(passages: int) -> list[str]:
    """Passages of words by Zipf's law, long as those of MS MARCO."""
    draw = np.random.default_rng(0)
    letters = np.array(list("etaoinshrdlucmfwypvbgk"))
    words = np.array(["".join(draw.choice(letters, draw.integers(2, 11))) for _ in range(WORDS)])
    share = np.cumsum(1 / np.arange(3, WORDS + 3))
    sizes = draw.lognormal(np.log(MEAN), 0.4, passages).astype(int) + 1
    return [" ".join(words[np.searchsorted(share, draw.random(size) * share[-1])]) for size in sizes]


def read(path: Path, passages: int) -> list[str]:
    """The first passages of a BEIR collection, over again where it has fewer."""
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as file:
        lines = [json.loads(line) for line in file]
    texts = [f"{line.get('title', '')} {line['text']}".strip() for line in lines]
    return [texts[row % len(texts)] for row in range(passages)]


def asked(texts: list[str], queries: int) -> list[str]:
    """Consecutive words of passages."""
    draw, found = np.random.default_rng(1), []
    for row in draw.integers(0, len(texts), queries).tolist():
        words = texts[row].split()
        size = int(draw.integers(*QUERY, endpoint=True))
        start = int(draw.integers(0, max(1, len(words) - size)))
        found.append(" ".join(words[start : start + size]))
    return found


class Library:
    """bm25s with its numba back end, as its documentation uses it."""

    def index(self, texts: list[str]) -> None:
        self.words = Tokenizer(stemmer=Stemmer.Stemmer("english"), stopwords="en")
        ids = self.words.tokenize(texts, return_as="tuple", show_progress=False)
        self.ranker = bm25s.BM25(k1=0.9, b=0.4, method="lucene", backend="numba")
        self.ranker.index(ids, show_progress=False)

    def search(self, queries: list[str], k: int) -> np.ndarray:
        ids = self.words.tokenize(queries, update_vocab=False, return_as="ids", show_progress=False)
        return self.ranker.retrieve(ids, k=k, show_progress=False, n_threads=1).scores


def cpu(work: Callable[[], object]) -> tuple[float, object]:
    """CPU seconds of a call, and its result."""
    before = time.process_time()
    result = work()
    return time.process_time() - before, result


def ratio(pairs: list[tuple[float, float]]) -> str:
    ratios = [theirs / ours for ours, theirs in pairs]
    return f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"


def compare(texts: list[str], queries: list[str], k: int, repeats: int) -> str:
    ours, theirs, names = bm25.Bm25(analyzer="english"), Library(), [str(number) for number in range(len(queries))]
    indexing = cpu(lambda: ours.index(texts, range(len(texts))))[0], cpu(lambda: theirs.index(texts))[0]
    searching: list[tuple[float, float]] = []
    for number in range(repeats + 1):
        mine, run = cpu(lambda: ours.search(names, queries, k))
        other, scores = cpu(lambda: theirs.search(queries, k))
        if number:  # the first round compiles
            searching.append((mine, other))
    for query, row in zip(run, scores, strict=True):
        np.testing.assert_allclose([score for _, score in run[query]], row[: len(run[query])], rtol=1e-4)
    mine, other = (statistics.median(column) for column in zip(*searching, strict=True))
    return (
        f"{len(texts):,} passages, {len(queries):,} queries, k={k}: search {ratio(searching)} of bm25s numba "
        f"({len(queries) / mine:,.0f} against {len(queries) / other:,.0f} queries per CPU-s), "
        f"indexing {indexing[1] / indexing[0]:.2f} ({len(texts) / indexing[0]:,.0f} passages per CPU-s), "
        f"index {ours.weight_P.nbytes * 2 / 2**20:,.0f} MiB"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="10000,30000,120000")
    for name, default in (("queries", 1000), ("k", 200), ("repeats", 7)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--path", type=Path, default=None)
    chosen = parser.parse_args()
    bm25.processors = lambda: 1
    Library().index(["alpha beta"] * 2)
    bm25.Bm25().index(["alpha beta"] * 2, [1, 2])
    for size in map(int, chosen.sizes.split(",")):
        texts = made_up(size) if chosen.path is None else read(chosen.path, size)
        print(compare(texts, asked(texts, chosen.queries), chosen.k, chosen.repeats), flush=True)


if __name__ == "__main__":
    main()
