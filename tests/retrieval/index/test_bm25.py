"""BM25 against the formula written out, and the edges of a ranking."""

import copy
import math
import random
import re
from collections import Counter

import numpy as np
import pytest

from bmae_lightning.retrieval.index import bm25 as module
from bmae_lightning.retrieval.index.bm25 import Bm25
from bmae_lightning.runtime.errors import BadInput

WORDS = ["alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"]


def slow_scores(texts, query, k1, b):
    docs = [re.findall(r"\b\w\w+\b", text.lower()) for text in texts]
    mean = sum(map(len, docs)) / len(docs)
    scores = []
    for doc in docs:
        counts, score = Counter(doc), 0.0
        for word in re.findall(r"\b\w\w+\b", query.lower()):
            frequency = sum(word in other for other in docs)
            idf = math.log(1 + (len(docs) - frequency + 0.5) / (frequency + 0.5))
            score += idf * counts[word] / (counts[word] + k1 * (1 - b + b * len(doc) / mean))
        scores.append(score)
    return scores


@pytest.mark.parametrize(("k1", "b"), [(0.9, 0.4), (1.5, 0.0), (0.82, 0.68)])
def test_scores_and_order_equal_the_formula(k1, b):
    rng = random.Random(1)
    texts = [" ".join(rng.choices(WORDS, k=rng.randint(0, 12))) for _ in range(40)]
    queries = ["alpha beta", "Theta theta kappa", "iota unknown", "zeta a"]
    ranker = Bm25(k1=k1, b=b, analyzer="words")
    ranker.index(iter(texts), [f"p{i}" for i in range(40)])
    for depth in (3, 40):
        run = ranker.search([str(q) for q in range(4)], queries, depth)
        for q, query in enumerate(queries):
            scores = slow_scores(texts, query, k1, b)
            # rounded, so that sums in another order stay ties; lower row first
            best = sorted((i for i in range(40) if scores[i] > 0), key=lambda i: (-round(scores[i], 5), i))[:depth]
            assert [score for _, score in run[str(q)]] == pytest.approx([scores[i] for i in best], rel=1e-5)
            assert run.passages(str(q)) == [f"p{i}" for i in best]


def test_words_are_stemmed_and_stop_words_dropped():
    ranker = Bm25()
    ranker.index(["the running dogs", "a cat", ""], ["d", "c", "empty"])
    run = ranker.search(["1", "2", "3", "4"], ["runs dog", "the of and", "", "zebra"], 10)
    assert run.passages("1") == ["d"]
    assert [run[query] for query in "234"] == [[], [], []]


def test_depth_beyond_the_corpus_and_no_zero_scores():
    ranker = Bm25(stemmer=None)
    ranker.index(["apple pear", "apple", "plum"], ["1", "2", "3"])
    run = ranker.search(["q"], ["apple"], 1000)
    assert run.passages("q") == ["2", "1"]
    assert all(score > 0 for _, score in run["q"])


def test_ties_keep_corpus_order_and_threads_change_nothing(monkeypatch):
    ranker = Bm25(analyzer="words")
    ranker.index(["same words"] * 30 + ["other"], [f"p{i}" for i in range(31)])
    queries = [str(q) for q in range(150)]
    seen = []
    run = ranker.search(queries, ["same words"] * 150, 7, seen.append)
    assert run.passages("149") == [f"p{i}" for i in range(7)]
    assert sum(seen) == 150
    monkeypatch.setattr(module, "processors", lambda: 1)
    monkeypatch.setattr(module, "QUERIES_AT_ONCE", 7)
    again = ranker.search(queries, ["same words"] * 150, 7)
    assert all(run[query] == again[query] for query in queries)


@pytest.mark.parametrize("depth", [1, 3, 50, 1000])
def test_weights_and_rankings_are_those_of_bm25s(depth):
    import bm25s

    rng = random.Random(depth)
    words = [f"w{number}" for number in range(60)]
    texts = [" ".join(rng.choices(words, range(1, 61), k=rng.randint(0, 30))) for _ in range(700)]
    queries = [" ".join(rng.choices(words, k=rng.randint(0, 40))) for _ in range(30)]
    ranker = Bm25(analyzer="words")
    ranker.index(texts, range(700))
    run = ranker.search(range(30), queries, depth)
    other = bm25s.BM25(k1=0.9, b=0.4, method="lucene")
    numbers = [[ranker.analyzer.numbers[word] for word in text.split()] for text in texts]
    table = other.build_index_from_ids(range(60), numbers, show_progress=False)
    assert (table["data"] == ranker.weight_P).all()
    assert (table["indices"] == ranker.passage_P).all()
    other.scores, other.vocab_dict = table, ranker.analyzer.numbers.stems
    for number, query in enumerate(queries):
        # summed in the order of the words' numbers, a word said twice counted twice
        counts = sorted((ranker.analyzer.numbers[word], count) for word, count in Counter(query.split()).items())
        scores = np.zeros(700, np.float32)
        for word, count in counts:
            span = slice(table["indptr"][word], table["indptr"][word + 1])
            scores[table["indices"][span]] += np.float32(count) * table["data"][span]
        best = [row for row in np.lexsort((range(700), -scores)).tolist() if scores[row] > 0][:depth]
        assert run[number] == [(row, scores[row]) for row in best]
        if query:
            assert scores == pytest.approx(other.get_scores(query.split()), rel=1e-5)


def test_queries_without_words_and_longer_than_anything():
    ranker = Bm25()
    ranker.index(["apple pear", "plum"], [7, 8])
    run = ranker.search([1, 2, 3, 4], ["", "the", "apple plum " * 100_000, "?"], 5)
    assert [run.passages(query) for query in run] == [[], [], [8, 7], []]
    assert len(ranker.search([], [], 5)) == 0


def test_copies_hold_collections_of_their_own():
    ranker = Bm25()
    first, second = copy.copy(ranker), copy.copy(ranker)
    first.index(["apple"], ["1"])
    second.index(["plum", "apple"], ["1", "2"])
    assert first.search(["q"], ["apple plum"], 5).passages("q") == ["1"]


def test_quiet(capfd):
    ranker = Bm25()
    ranker.index(["some words", "more words"], ["1", "2"])
    ranker.search(["q"], ["words"], 5)
    assert capfd.readouterr() == ("", "")


def test_mistakes():
    with pytest.raises(BadInput, match="2 passages came with 1 ids"):
        Bm25().index(["ab", "cd"], ["1"])
    with pytest.raises(BadInput, match="no passage has a word"):
        Bm25().index(["the", ""], ["1", "2"])
    with pytest.raises(BadInput, match="call index first"):
        Bm25().search(["q"], ["a"], 5)
    for wrong, name in (({"k1": -1.0}, "k1"), ({"b": 1.5}, "b must"), ({"analyzer": "?"}, "analyzer")):  # fmt: skip
        with pytest.raises(ValueError, match=name):
            Bm25(**wrong)
