"""Values of every token equal a slow reference over strings, for any memory and threads; resumed, refused."""

import dataclasses
import json
import math
import pickle
import tracemalloc
from collections import Counter
from itertools import combinations, product
from types import SimpleNamespace

import numpy as np
import pytest

from bmae_lightning.corpus.statistics import token_values
from bmae_lightning.corpus.statistics import write as module
from bmae_lightning.corpus.statistics.key_counts import BYTES_PER_ENTRY
from bmae_lightning.corpus.statistics.token_values import StatisticsOptions
from bmae_lightning.corpus.statistics.words import WordRules
from bmae_lightning.corpus.statistics.write import Statistics, write_statistics
from bmae_lightning.corpus.tokens.store import TokenStoreWriter
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.threads import LEAST

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def grouped(passage, unit):
    """Positions of the pieces of each word or piece, and its string."""
    groups = []
    for place, piece in enumerate(passage):
        if piece in SPECIAL:
            continue
        if unit == "word" and piece.startswith("##") and groups:
            groups[-1].append(place)
        else:
            groups.append([place])
    return groups, ["".join(passage[i] for i in group) for group in groups]


def reference(passages, options, counted=None):
    """(importance, keyword_weight) of every token, in Python."""
    counted = counted or passages
    window, m = options.window, options.min_count
    corpus = [grouped(passage, options.unit)[1] for passage in counted]
    grams = [None] + [
        Counter(tuple(keys[i : i + n]) for keys in corpus for i in range(len(keys) - n + 1))
        for n in range(1, window + 1)
    ]
    total = [0] + [sum(counter.values()) for counter in grams[1:]]
    words = [grouped(passage, "word")[1] for passage in counted]
    frequency = Counter(key for keys in words for key in keys)
    holding = Counter(key for keys in words for key in set(keys))

    def log_p(part):
        return math.log(max(grams[len(part)][part], 1) / total[len(part)])

    def pmi(gram, own):
        if options.pmi_mode == "joint":
            parts = [[(key,) for key in gram]]
        elif options.pmi_mode == "split":
            parts = [[gram[:1], gram[1:]] if own == 0 else [gram[:-1], gram[-1:]]]
        else:
            inner = range(1, len(gram))
            cuts = [(0, *c, len(gram)) for size in inner for c in combinations(inner, size)]
            parts = [[gram[a:b] for a, b in zip(cut, cut[1:], strict=False)] for cut in cuts]
        return min(log_p(gram) - sum(map(log_p, segments)) for segments in parts)

    importance, weight = [], []
    for passage in passages:
        groups, keys = grouped(passage, options.unit)
        row = [0.0] * len(passage)
        for i, group in enumerate(groups):
            left = [tuple(keys[i - n + 1 : i + 1]) for n in range(2, window + 1) if i - n + 1 >= 0]
            right = [tuple(keys[i : i + n]) for n in range(2, window + 1) if i + n <= len(keys)]
            left = [pmi(gram, -1) for gram in left if grams[len(gram)][gram] >= m]
            right = [pmi(gram, 0) for gram in right if grams[len(gram)][gram] >= m]
            if options.boundary == "zero_fill":
                value = (sum(left) + sum(right)) / (window - 1)
            else:
                means = [sum(side) / len(side) for side in (left, right) if side]
                value = sum(means) * (2 / len(means)) if means else 0.0
            for place in group:
                row[place] = value
        importance += row
        groups, keys = grouped(passage, "word")
        row, times = [0.0] * len(passage), Counter(keys)
        for group, key in zip(groups, keys, strict=True):
            d = max(holding[key], 1)
            idf = math.log(1 + (len(counted) - d + 0.5) / (d + 0.5))
            value = {"inv_cf": 1 / max(frequency[key], 1), "idf": idf, "tfidf": times[key] * idf}[options.keyword]
            for place in group:
                row[place] = math.log(value)
        weight += row
    return importance, weight


def compute(made, directory, options=None, **arguments):
    options = options or StatisticsOptions()
    return write_statistics(directory, made.store, made.rules, options, **arguments)


GRID = [
    StatisticsOptions(keyword, window, unit, mode, boundary, m)
    for (mode, boundary, unit), (keyword, window, m) in zip(
        product(["joint", "split", "minseg"], ["available", "zero_fill"], ["word", "piece"]),
        4 * [("inv_cf", 4, 1), ("idf", 3, 2), ("tfidf", 2, 3)],
        strict=True,
    )
] + [StatisticsOptions("inv_cf", 4, u, "minseg", "available", m) for u, m in product(["word", "piece"], [1, 2, 5])]


@pytest.mark.parametrize("options", GRID, ids=lambda options: "-".join(map(str, dataclasses.astuple(options))))
def test_every_option_against_the_slow_reference(make_store, tmp_path, options):
    passages = make_store.random(seed=options.window)
    statistics = compute(make_store(passages), tmp_path / "s", options)
    importance, weight = reference(passages, options)
    assert statistics["importance"].tolist() == pytest.approx(importance, rel=1e-5, abs=1e-5)
    assert statistics["keyword_weight"].tolist() == pytest.approx(weight, rel=1e-5, abs=1e-5)
    assert np.abs(statistics["importance"]).max() > 1
    assert statistics.options == options


def test_the_worked_example_and_the_numbers_beside_it(make_store, tmp_path):
    made = make_store([list("abc"), list("abd")])
    available = compute(made, tmp_path / "available", StatisticsOptions(window=3, boundary="available"))
    assert available["importance"][:3].tolist() == pytest.approx([4.79991, 3.00815, 4.79991], abs=1e-5)
    statistics = compute(made, tmp_path / "s", StatisticsOptions(window=3))
    assert statistics["importance"][:3].tolist() == pytest.approx([2.39996, 1.50408, 2.39996], abs=1e-5)
    assert statistics["keyword_weight"].tolist() == pytest.approx([-math.log(2)] * 2 + [0] + [-math.log(2)] * 2 + [0])
    assert statistics["importance"].dtype == statistics["keyword_weight"].dtype == np.float32
    record = json.loads((tmp_path / "s" / "statistics.json").read_text())
    assert record["occurrences"] == {"word-1": 6, "word-2": 4, "word-3": 2}
    assert record["kept"] == {"word-1": 4, "word-2": 3, "word-3": 2}
    assert (record["rows"], record["tokens"], record["tokenizer"]) == (2, 6, "d" * 64)
    names = sorted(path.name for path in (tmp_path / "s").iterdir())
    assert names == ["importance.npy", "keyword_weight.npy", "statistics.json"]


def test_counts_of_another_store(make_store, tmp_path):
    """Words that were never counted count as one, n-grams that were never counted do not exist."""
    passages = make_store.random()
    vocabulary = sorted({piece for passage in passages for piece in passage} - set(SPECIAL)) + ["new"]
    here = [["a", "b", "new", "##x", "b", "a", "c"], ["new"], [], ["h", "h", "h"]]
    counted, made = make_store(passages, "counted", vocabulary), make_store(here, "here", vocabulary)
    for keyword in ("inv_cf", "tfidf"):
        options = StatisticsOptions(keyword, min_count=2)
        statistics = compute(made, tmp_path / keyword, options, counted=counted.store)
        importance, weight = reference(here, options, passages)
        assert statistics["importance"].tolist() == pytest.approx(importance, abs=1e-5)
        assert statistics["keyword_weight"].tolist() == pytest.approx(weight, abs=1e-5)
    other = make_store(passages, "other", vocabulary, digest="e" * 64)
    with pytest.raises(BadInput, match="were made by two tokenizers"):
        compute(made, tmp_path / "s", counted=other.store)


def arrays(statistics):
    return {name: statistics[name].tobytes() for name in statistics.names}


@pytest.mark.parametrize("options", [StatisticsOptions("tfidf"), StatisticsOptions(unit="piece", min_count=2)])
@pytest.mark.parametrize(("memory", "threads"), [(1500, 1), (6000, 1), (3 * LEAST, 3)])
def test_the_same_bytes_for_any_memory_and_threads(make_store, tmp_path, monkeypatch, options, memory, threads):
    made = make_store(make_store.random())
    expected = arrays(compute(made, tmp_path / "one", options))
    monkeypatch.setattr(module, "LEAST_MEMORY", 1)
    statistics = compute(made, tmp_path / "many", options, memory_gb=memory / 2**30, threads=threads)
    assert arrays(statistics) == expected


def test_a_passage_has_its_importance_wherever_it_stands(make_store, tmp_path, monkeypatch):
    passages = make_store.random()
    values = [
        compute(make_store(order, name), tmp_path / f"s-{name}")["importance"]
        for name, order in (("up", passages), ("down", passages[::-1]))
    ]
    edges = np.cumsum([0, *map(len, passages)])
    mirrored = [values[1][len(values[1]) - b : len(values[1]) - a] for a, b in zip(edges, edges[1:], strict=False)]
    assert np.array_equal(np.concatenate(mirrored), values[0])


@pytest.mark.parametrize("passages", [[], [[]], [[], ["[UNK]"], []], [["a"]], [["a", "##x"]]])
@pytest.mark.parametrize("keyword", ["inv_cf", "tfidf"])
def test_one_word_passages_and_an_empty_corpus_divide_by_nothing(make_store, tmp_path, passages, keyword):
    made = make_store(passages, vocabulary=["a", "##x"])
    statistics = compute(made, tmp_path / "s", StatisticsOptions(keyword))
    assert not statistics["importance"].any()
    assert len(statistics["importance"]) == len(made.store.tokens)
    assert np.isfinite(statistics["keyword_weight"]).all()


def test_a_killed_run_continues(make_store, tmp_path, monkeypatch):
    made = make_store(make_store.random())
    expected = arrays(compute(made, tmp_path / "whole"))
    monkeypatch.setattr(module, "LEAST_MEMORY", 1)
    few, directory = {"memory_gb": 3000 / 2**30}, tmp_path / "killed"
    real = token_values.write_array
    written = []

    def stop_before_the_third_block(path, values):
        if len(written) == 2:
            raise KeyboardInterrupt
        written.append(path.name)
        real(path, values)

    monkeypatch.setattr(token_values, "write_array", stop_before_the_third_block)
    with pytest.raises(KeyboardInterrupt):
        compute(made, directory, **few)
    assert not (directory / "statistics.json").exists()
    partial = {path.name: path.stat().st_mtime_ns for path in (directory / "partial").iterdir()}
    assert {name for name in partial if name.startswith("values.")} == set(written)
    again = []
    monkeypatch.setattr(token_values, "write_array", lambda path, values: (again.append(path.name), real(path, values)))
    monkeypatch.setattr(module, "_join", lambda path, parts, number, tokens: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        compute(made, directory, **few)
    assert again
    assert not set(again) & set(written)
    kept = {path.name: path.stat().st_mtime_ns for path in (directory / "partial").iterdir()}
    assert kept.items() >= partial.items(), "something finished was made again"
    monkeypatch.undo()
    assert arrays(compute(made, directory)) == expected, "continued with other memory"
    assert not (directory / "partial").exists()


def test_what_other_options_left_is_not_used(make_store, tmp_path, monkeypatch):
    made = make_store(make_store.random())
    monkeypatch.setattr(module, "_join", lambda path, parts, number, tokens: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        compute(made, tmp_path / "s", StatisticsOptions(pmi_mode="split", min_count=3))
    monkeypatch.undo()
    assert arrays(compute(made, tmp_path / "s")) == arrays(compute(made, tmp_path / "fresh"))


def test_memory_stays_below_what_is_allowed(tmp_path, monkeypatch):
    memory = 2**24
    monkeypatch.setattr("bmae_lightning.runtime.threads.LEAST", memory // 2)
    draw = np.random.default_rng(0)
    token = np.minimum(draw.zipf(1.2, 400_000), 20_000) + 4
    with TokenStoreWriter(tmp_path / "store", 20_005, "d" * 64) as writer:
        for row, ids in enumerate(np.array_split(token, 4000)):
            writer.append(ids, str(row))
        store = writer.commit()
    number_V = np.arange(20_005)
    rules = WordRules(number_V < 5, (number_V % 5 == 0).astype(np.uint8), number_V)
    made = SimpleNamespace(store=store, rules=rules)
    tracemalloc.start()
    statistics = compute(made, tmp_path / "s", StatisticsOptions("idf"), memory_gb=memory / 2**30, threads=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < memory
    assert np.isfinite(statistics["importance"]).all()
    record = json.loads((tmp_path / "s" / "statistics.json").read_text())
    assert BYTES_PER_ENTRY * sum(record["kept"].values()) > memory, "all tables at once would have fitted"


@pytest.fixture
def finished(make_store, tmp_path):
    made = make_store(make_store.random())
    compute(made, tmp_path / "s")
    return made.store, tmp_path / "s"


def test_values_are_memory_mapped_and_travel_as_paths(finished):
    store, directory = finished
    statistics = Statistics(directory, store)
    assert statistics.names == ("importance", "keyword_weight")
    with pytest.raises(ValueError, match="read-only"):
        statistics["importance"][0] = 1
    content = pickle.dumps(statistics)
    assert len(content) < 600
    assert np.array_equal(pickle.loads(content)["importance"], statistics["importance"])
    with pytest.raises(
        BadInput, match="a mask reads the value 'tf', the statistics .* have importance, keyword_weight"
    ):
        statistics["tf"]


def test_statistics_of_another_tokenizer_or_of_other_texts(finished, make_store):
    store, directory = finished
    passages = make_store.random()
    for name, rows, digest, message in (
        ("a", passages, "e" * 64, r"made with tokenizer d{12}, the passages .*a with e{12}"),
        ("b", [*passages, []], "d" * 64, r"they describe 48 rows, the passages .*b have 49"),
        ("c", [[*passages[0], "a"], *passages[1:]], "d" * 64, r"they describe [\d,]+ tokens, the passages .*c have"),
    ):
        other = make_store(rows, name, digest=digest).store
        with pytest.raises(BadInput, match=rf"statistics .*s cannot be used: .*{message}.*; run the statistics stage"):
            Statistics(directory, other)


@pytest.mark.parametrize("name", ["importance.npy", "keyword_weight.npy", "statistics.json"])
def test_missing_and_damaged_files(finished, name):
    store, directory = finished
    path = directory / name
    content = path.read_bytes()
    for damaged in (content[:-3], content[:20], b""):
        path.write_bytes(damaged)
        with pytest.raises(BadInput, match=rf"statistics .*s cannot be used: {name} "):
            Statistics(directory, store)
    path.unlink()
    with pytest.raises(BadInput, match=rf"cannot be used: {name} is missing; run the statistics stage"):
        Statistics(directory, store)


def test_another_format_and_another_array(finished):
    store, directory = finished
    np.save(directory / "importance.npy", np.zeros(3, dtype=np.float32))
    with pytest.raises(BadInput, match=r"importance.npy holds float32 \(3,\) instead of float32"):
        Statistics(directory, store)
    (directory / "statistics.json").write_text('{"format": 99}')
    with pytest.raises(BadInput, match="statistics.json is not of format 1"):
        Statistics(directory, store)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"memory_gb": 0.0}, "memory_gb must be at least 0.016, got 0.0"), ({"threads": 0}, "threads must be at least 1")],
)
def test_impossible_resources(make_store, tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        compute(make_store([["a"]]), tmp_path / "s", **arguments)
