"""AMI against the worked examples and a slow reference over dictionaries, for every mode, boundary and min_count."""

import math
import random
from collections import Counter
from itertools import combinations

import numpy as np
import pytest

from bmae_lightning.corpus.statistics.pmi import BOUNDARIES, PMI_MODES, average_mutual_information

LN = math.log


def count(corpus, window):
    """Counters of n-grams (tuples) by order, from 1."""
    return [None] + [
        Counter(tuple(words[i : i + order]) for words in corpus for i in range(len(words) - order + 1))
        for order in range(1, window + 1)
    ]


def pmi(gram, counts, mode, word):
    """word: 0 or -1, the end of the n-gram whose importance it is."""

    def log_p(part):
        counted = counts[len(part)]
        return LN(counted[part] or 1) - LN(sum(counted.values()))

    if mode == "joint":
        return log_p(gram) - sum(log_p((word,)) for word in gram)
    if mode == "split":
        rest = gram[1:] if word == 0 else gram[:-1]
        return log_p(gram) - log_p((gram[word],)) - log_p(rest)
    values = []
    for cuts in range(1, len(gram)):
        for places in combinations(range(1, len(gram)), cuts):
            edges = (0, *places, len(gram))
            values.append(log_p(gram) - sum(log_p(gram[a:b]) for a, b in zip(edges, edges[1:], strict=False)))
    assert len(values) == 2 ** (len(gram) - 1) - 1
    return min(values)


def importance(words, counts, mode, boundary, min_count):
    """AMI of every word of a passage."""
    window = len(counts) - 1
    result = []
    for i in range(len(words)):
        left, right = [], []
        for order in range(2, window + 1):
            if i - order + 1 >= 0 and counts[order][gram := tuple(words[i - order + 1 : i + 1])] >= min_count:
                left.append(pmi(gram, counts, mode, -1))
            if i + order <= len(words) and counts[order][gram := tuple(words[i : i + order])] >= min_count:
                right.append(pmi(gram, counts, mode, 0))
        if boundary == "zero_fill":
            result.append((sum(left) + sum(right)) / (window - 1))
        elif left and right:
            result.append(sum(left) / len(left) + sum(right) / len(right))
        else:
            side = left or right
            result.append(2 * sum(side) / len(side) if side else 0.0)
    return result


def ours(corpus, counts, mode, boundary, min_count=1):
    """The same from arrays over the whole corpus."""
    window = len(counts) - 1
    units = sum(map(len, corpus))
    count_NU = np.zeros((window, units), dtype=np.int64)
    start = 0
    for words in corpus:
        for order in range(1, window + 1):
            for i in range(len(words) - order + 1):
                number = counts[order][tuple(words[i : i + order])]
                count_NU[order - 1, start + i] = number if order == 1 or number >= min_count else 0
        start += len(words)
    total_N = [sum(counted.values()) for counted in counts[1:]]
    return average_mutual_information(list(count_NU), total_N, mode, boundary)


WORKED = [list("abc"), list("abd")]


@pytest.mark.parametrize(
    ("mode", "boundary", "word", "expected"),
    [
        ("joint", "available", 1, 2 * LN(4.5)),
        ("joint", "zero_fill", 1, LN(4.5)),
        ("joint", "available", 2, LN(4.5) + LN(27)),
        ("joint", "zero_fill", 2, (LN(4.5) + LN(27)) / 2),
        ("split", "available", 0, LN(4.5) + LN(6)),
        ("split", "zero_fill", 2, (LN(4.5) + LN(6)) / 2),
        ("minseg", "available", 2, LN(4.5) + LN(6)),
    ],
)
def test_worked_examples(mode, boundary, word, expected):
    value_U = ours(WORKED, count(WORKED, 3), mode, boundary)
    assert value_U[word] == pytest.approx(expected, abs=1e-12)


def test_worked_numbers_of_the_reference():
    counts = count(WORKED, 3)
    assert pmi(("a", "b"), counts, "joint", 0) == pytest.approx(1.50408, abs=5e-6)
    assert pmi(tuple("abc"), counts, "joint", 0) == pytest.approx(3.29584, abs=5e-6)
    for mode, word in (("split", 0), ("split", -1), ("minseg", 0)):
        assert pmi(tuple("abc"), counts, mode, word) == pytest.approx(1.79176, abs=5e-6)
    value_U = ours(WORKED, counts, "joint", "available")
    assert value_U[:3].tolist() == pytest.approx([4.79991, 3.00815, 4.79991], abs=1e-5)


def random_corpus(seed=0):
    draw = random.Random(seed)
    return [draw.choices("abcde", [8, 4, 3, 2, 1], k=draw.randint(0, 12)) for _ in range(30)] + [["z"], ["y", "z"]]


@pytest.mark.parametrize("mode", PMI_MODES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize(("window", "min_count"), [(2, 1), (3, 2), (4, 1), (4, 3)])
def test_random_corpora_against_the_slow_reference(mode, boundary, window, min_count):
    corpus = random_corpus()
    counts = count(corpus, window)
    expected = [v for words in corpus for v in importance(words, counts, mode, boundary, min_count)]
    assert ours(corpus, counts, mode, boundary, min_count).tolist() == pytest.approx(expected, abs=1e-10)
    assert np.isfinite(expected).all()


def pmi_arrays(count_NU, log_NU, mode, order):
    """What an n-gram of an order that starts at each unit gives to its end and to its start, in whole arrays."""
    units = count_NU.shape[1] - order + 1
    at = lambda length, place: log_NU[length - 1, place : place + units]  # noqa: E731
    whole = at(order, 0)
    if mode == "split":
        return whole - at(1, order - 1) - at(order - 1, 0), whole - at(1, 0) - at(order - 1, 1)
    if mode == "joint":
        return (whole - sum(at(1, place) for place in range(order)),) * 2

    def best(place, length):
        return np.maximum(at(length, place), cut(place, length)) if length > 1 else at(1, place)

    def cut(place, length):
        ways = [at(first, place) + best(place + first, length - first) for first in range(1, length)]
        return np.max(ways, axis=0)

    return (whole - cut(0, order),) * 2


@pytest.mark.parametrize("mode", PMI_MODES)
@pytest.mark.parametrize("seed", range(3))
def test_the_loop_sums_to_the_last_bit_as_whole_arrays_do(mode, seed):
    draw = np.random.default_rng(seed)
    count_NU = draw.zipf(1.3, (4, 500)) * (draw.random((4, 500)) < 0.7) % 1000
    total_N = [10_000, 9000, 8000, 7000]
    for order in range(2, 5):
        count_NU[order - 1, 501 - order :] = 0
    log_NU = np.log(np.maximum(count_NU, 1)) - np.log(np.array(total_N))[:, None]
    sum_U2, terms_U2 = np.zeros((2, 500)), np.zeros((2, 500))
    for order in range(2, 5):
        exists = count_NU[order - 1, : 501 - order] > 0
        for side, value in enumerate(pmi_arrays(count_NU, log_NU, mode, order)):
            where = slice(order - 1, None) if side == 0 else slice(501 - order)
            sum_U2[side, where] += np.where(exists, value, 0)
            terms_U2[side, where] += exists
    mean_U2 = sum_U2 / np.maximum(terms_U2, 1)
    expected = {"zero_fill": sum_U2.sum(0) / 3, "available": np.where(terms_U2 > 0, mean_U2, mean_U2[::-1]).sum(0)}
    for boundary in BOUNDARIES:
        found = average_mutual_information(list(count_NU), total_N, mode, boundary)
        assert np.array_equal(found, expected[boundary])


@pytest.mark.parametrize("mode", PMI_MODES)
def test_counts_of_another_corpus(mode):
    """A word that was never seen counts as seen once, an n-gram that was never seen does not exist."""
    corpus, other = random_corpus(), [["a", "b", "new", "b", "a", "b"], ["new"], ["e", "e", "e", "e"]]
    counts = count(corpus, 3)
    expected = [v for words in other for v in importance(words, counts, mode, "available", 1)]
    assert ours(other, counts, mode, "available").tolist() == pytest.approx(expected, abs=1e-10)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_pairs_agree_in_all_modes(boundary):
    corpus = random_corpus(1)
    values = [ours(corpus, count(corpus, 2), mode, boundary) for mode in PMI_MODES]
    assert np.allclose(values[0], values[1], rtol=0, atol=1e-12)
    assert np.allclose(values[0], values[2], rtol=0, atol=1e-12)
    assert np.abs(values[0]).max() > 1


@pytest.mark.parametrize("mode", PMI_MODES)
def test_independent_words_say_nothing_about_each_other(mode):
    words = np.random.default_rng(0).choice(5, 200_000, p=[0.4, 0.3, 0.15, 0.1, 0.05])
    number, count_NU = np.zeros(len(words), dtype=np.int64), []
    for order in range(1, 5):
        size = len(words) - order + 1
        number[:size] = number[:size] * 5 + words[order - 1 :]
        total = np.bincount(number[:size])
        count_NU.append(np.where(np.arange(len(words)) < size, total[number], 0))
    value_U = average_mutual_information(count_NU, [len(words) - n for n in range(4)], mode, "available")
    assert abs(value_U.mean()) < 0.02  # minseg is a minimum, so a little below 0
    assert np.abs(value_U).max() < 1


@pytest.mark.parametrize("mode", PMI_MODES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_reversing_every_passage_leaves_the_importance(mode, boundary):
    corpus = random_corpus(2)
    reversed_corpus = [words[::-1] for words in corpus]
    value_U = ours(corpus, count(corpus, 4), mode, boundary)
    back_U = ours(reversed_corpus, count(reversed_corpus, 4), mode, boundary)
    edges = np.cumsum([0, *map(len, corpus)])
    again = np.concatenate([back_U[a:b][::-1] for a, b in zip(edges, edges[1:], strict=False)])
    assert np.allclose(value_U, again, rtol=0, atol=1e-12)


@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_window_of_two_sums_the_pairs_on_both_sides(boundary):
    corpus = random_corpus(3)
    counts = count(corpus, 2)
    value_U, start = ours(corpus, counts, "joint", boundary), 0
    for words in corpus:
        for i in range(1, len(words) - 1):
            pairs = [tuple(words[i - 1 : i + 1]), tuple(words[i : i + 2])]
            assert value_U[start + i] == pytest.approx(sum(pmi(pair, counts, "joint", 0) for pair in pairs))
        start += len(words)


@pytest.mark.parametrize("mode", PMI_MODES)
@pytest.mark.parametrize("boundary", BOUNDARIES)
def test_a_word_alone_and_an_empty_corpus(mode, boundary):
    assert ours([["a"], ["b"]], count([["a"], ["b"]], 4), mode, boundary).tolist() == [0, 0]
    assert len(average_mutual_information([np.zeros(0, dtype=np.int64)] * 4, [0] * 4, mode, boundary)) == 0
