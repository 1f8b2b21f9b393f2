"""Tables of a whole store against a Counter of string keys, whatever the number of partitions and threads."""

from collections import Counter

import pytest

from bmae_lightning.corpus.statistics.ngram_counts import Counting, count_tables, occurrences
from bmae_lightning.corpus.statistics.words import UnitReader
from bmae_lightning.runtime.threads import LEAST, Workers

SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")


def keys_of(passage):
    """MASTER's dictionary: special tokens dropped, `##` pieces merged onto the piece before with the `##` kept."""
    keys = []
    for piece in passage:
        if piece not in SPECIAL:
            if piece.startswith("##") and keys:
                keys[-1] += piece
            else:
                keys.append(piece)
    return keys


def named(made, rows, order):
    """64-bit key -> tuple of string keys, read from the store."""
    reader = UnitReader(made.store, made.rules, "word")
    found = {}
    for row, passage in enumerate(rows):
        keys = keys_of(passage)
        grams = [tuple(keys[i : i + order]) for i in range(len(keys) - order + 1)]
        found |= zip(reader.read(row, row + 1).ngram_keys(order)[0].tolist(), grams, strict=True)
    return found


def content(table):
    """key -> count of a table, in the order of the file."""
    parts = [table.load(*span) for span in table.spans(1000)]
    return {key: n for part in parts for key, n in zip(part.key.tolist(), part.count.tolist(), strict=True)}


def tables_of(made, directory, workers, min_count=1):
    reader = UnitReader(made.store, made.rules, "word")
    directory.mkdir()
    countings = [Counting(f"w{order}", reader, order, min_count if order > 1 else 1) for order in (1, 2, 4)]
    countings.append(Counting("passages", reader, 1, once=True))
    return count_tables(directory, countings, workers, "t"), occurrences(reader, 4, workers, "t")


@pytest.mark.parametrize("min_count", [1, 2])
def test_keys_and_counts_are_those_of_masters_dictionary(make_store, tmp_path, min_count):
    passages = make_store.random()
    made = make_store(passages)
    tables, total_N = tables_of(made, tmp_path / "work", Workers(1, 2**26), min_count)
    for order in (1, 2, 4):
        names = named(made, passages, order)
        grams = Counter(
            tuple(keys[i : i + order]) for keys in map(keys_of, passages) for i in range(len(keys) - order + 1)
        )
        assert total_N[order - 1] == sum(grams.values())
        kept = {gram: n for gram, n in grams.items() if order == 1 or n >= min_count}
        assert {names[key]: n for key, n in content(tables[f"w{order}"]).items()} == kept
    assert any("##" in key for (key,) in named(made, passages, 1).values())
    holding = Counter(key for passage in passages for key in set(keys_of(passage)))
    assert {named(made, passages, 1)[key][0]: n for key, n in content(tables["passages"]).items()} == holding


def test_probabilities_of_each_order_sum_to_one(make_store, tmp_path):
    tables, total_N = tables_of(make_store(make_store.random()), tmp_path / "work", Workers(1, 2**26))
    for order in (1, 2, 4):
        assert sum(content(tables[f"w{order}"]).values()) == total_N[order - 1] > 100


@pytest.mark.parametrize(("threads", "memory"), [(1, 2048), (1, 700), (3, 3 * LEAST)])
def test_tables_are_the_same_for_any_number_of_partitions_and_threads(make_store, tmp_path, threads, memory):
    made = make_store(make_store.random())
    expected, total_N = tables_of(made, tmp_path / "one", Workers(1, 2**26))
    tables, again_N = tables_of(made, tmp_path / "many", Workers(threads, memory))
    assert again_N == total_N
    for name, table in expected.items():
        assert table.partitions == 1
        assert tables[name].partitions > 1 or threads > 1
        assert list(content(tables[name]).items()) == list(content(table).items()), "sorted and equal"


def test_less_memory_makes_more_partitions(make_store, tmp_path):
    made = make_store([["a", "b"] * 500] * 20)
    partitions = []
    for memory in (2**20, 2**17, 2**15):
        tables, _ = tables_of(made, tmp_path / str(memory), Workers(1, memory))
        partitions.append(tables["w1"].partitions)
    assert partitions == [1, 3, 11]  # 20,000 keys of 8 bytes, 1.3 times, in 60 % of the memory


def test_only_missing_partitions_are_counted(make_store, tmp_path, monkeypatch, capsys):
    made = make_store(make_store.random())
    workers = Workers(1, 2048)
    expected = {name: content(table) for name, table in tables_of(made, tmp_path / "one", workers)[0].items()}
    reader = UnitReader(made.store, made.rules, "word")
    counting, directory = Counting("w2", reader, 2), tmp_path / "two"
    directory.mkdir()
    read, calls = reader.read, []

    def stop_at_the_third_partition(first, last):
        calls.append(first)
        if calls.count(0) == 3:
            raise KeyboardInterrupt
        return read(first, last)

    monkeypatch.setattr(reader, "read", stop_at_the_third_partition)
    with pytest.raises(KeyboardInterrupt):
        count_tables(directory, [counting], workers, "t")
    done = sorted(path.name for path in directory.iterdir() if path.suffix not in (".keys", ".counts"))
    assert len(done) == 2
    calls.clear()
    monkeypatch.setattr(reader, "read", lambda first, last: calls.append(first) or read(first, last))
    table = count_tables(directory, [counting], workers, "t")["w2"]
    assert calls.count(0) == table.partitions - 2 > 0
    assert content(table) == expected["w2"]
    calls.clear()
    capsys.readouterr()
    count_tables(directory, [counting], workers, "t")
    assert calls == []
    assert capsys.readouterr().err == ""
