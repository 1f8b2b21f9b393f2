"""BM25 against the formula written out, and the edges of a ranking."""

import math
import random
import re
from collections import Counter

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
    ranker = Bm25(k1=k1, b=b, stemmer=None, stopwords=None)
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
    ranker = Bm25(stemmer=None, stopwords=None)
    ranker.index(["same words"] * 30 + ["other"], [f"p{i}" for i in range(31)])
    queries = [str(q) for q in range(150)]
    seen = []
    run = ranker.search(queries, ["same words"] * 150, 7, seen.append)
    assert run.passages("149") == [f"p{i}" for i in range(7)]
    assert sum(seen) == 150
    monkeypatch.setattr(module, "processors", lambda: 1)
    monkeypatch.setattr(module, "POSTINGS_AT_ONCE", 100)
    again = ranker.search(queries, ["same words"] * 150, 7)
    assert all(run[query] == again[query] for query in queries)


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
    for wrong, name in (({"k1": -1.0}, "k1"), ({"b": 1.5}, "b must"), ({"stemmer": "klingon"}, "stemmer"),
                        ({"stopwords": "klingon"}, "stopwords")):  # fmt: skip
        with pytest.raises(ValueError, match=name):
            Bm25(**wrong)
