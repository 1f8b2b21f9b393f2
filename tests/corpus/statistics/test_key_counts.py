"""Counting in buffers, partitions and files against a Counter; finding keys in a table."""

from collections import Counter

import numpy as np
import pytest

from bmae_lightning.corpus.statistics import key_counts
from bmae_lightning.corpus.statistics.key_counts import KeyCounter, Lookup, Table, in_partition
from bmae_lightning.runtime.splitmix64 import mix


def sample_keys(count=5000, types=700, seed=0):
    """Hashed keys of skewed frequency, with the two extreme ones."""
    rank = np.random.default_rng(seed).zipf(1.3, count) % types
    keys = mix(rank.astype(np.uint64) + np.uint64(1))
    keys[:3], keys[3:7] = 0, np.uint64(2**64 - 1)
    return keys


def joined(blocks):
    blocks = list(blocks)
    return np.concatenate([key for key, _ in blocks]), np.concatenate([count for _, count in blocks])


@pytest.mark.parametrize("capacity", [10_000, 5000, 1500, 64])
@pytest.mark.parametrize("min_count", [1, 3])
def test_a_buffer_of_any_size_counts_as_a_counter(monkeypatch, capacity, min_count):
    monkeypatch.setattr(key_counts, "BLOCK", 100)
    keys = sample_keys()
    counter = KeyCounter(capacity)
    for part in np.array_split(keys, 17):
        counter.add(part)
    key, count = joined(counter.finish(min_count))
    expected = sorted((k, n) for k, n in Counter(keys.tolist()).items() if n >= min_count)
    assert list(zip(key.tolist(), count.tolist(), strict=True)) == expected
    assert (key.dtype, count.dtype) == (np.uint64, np.int64)


def test_parts_of_a_large_buffer_are_sorted_as_a_whole(monkeypatch):
    monkeypatch.setattr(key_counts, "PART", 16)
    for keys in (sample_keys(), np.full(100, 7, np.uint64), np.arange(100, dtype=np.uint64)[::-1].copy()):
        expected = sorted(keys.tolist())
        key_counts._sort(keys)
        assert keys.tolist() == expected


def test_partitions_one_after_another_are_the_sorted_whole():
    keys = sample_keys()
    assert in_partition(keys, 0, 1) is keys
    for partitions in (2, 7):
        parts = [in_partition(keys, number, partitions) for number in range(partitions)]
        assert np.array_equal(np.concatenate([np.sort(part) for part in parts]), np.sort(keys))
        assert all(len(part) > 100 for part in parts)


def test_nothing_to_count(tmp_path):
    table = Table(tmp_path, "none", 1)
    table.write(0, KeyCounter(8).finish())
    assert len(table) == 0
    assert table.spans(10) == []


@pytest.mark.parametrize("partitions", [1, 3])
def test_a_table_on_disk_finds_every_key(tmp_path, partitions):
    keys = sample_keys()
    table = Table(tmp_path, "t", partitions)
    assert table.missing() == list(range(partitions))
    for number in range(partitions):
        counter = KeyCounter(300)
        counter.add(in_partition(keys, number, partitions))
        table.write(number, counter.finish())
    assert table.missing() == []
    assert not [path for path in tmp_path.iterdir() if path.suffix in (".keys", ".counts")]
    expected = Counter(keys.tolist())
    assert len(table) == len(expected)
    asked = np.concatenate([keys, sample_keys(seed=1), np.arange(50, dtype=np.uint64)])
    for entries in (10_000, 40, 1):
        spans = table.spans(entries)
        assert max(count for _, _, count in spans) <= entries
        total = sum(table.load(*span).find(asked) for span in spans)
        assert total.tolist() == [expected[key] for key in asked.tolist()]


def test_a_partition_that_was_cut_off_is_missing(tmp_path):
    table = Table(tmp_path, "t", 2)

    def blocks():
        yield np.arange(5, dtype=np.uint64), np.ones(5, dtype=np.int64)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        table.write(1, blocks())
    assert table.missing() == [0, 1]


@pytest.mark.parametrize("key", [[5], [0, 1, 2, 3], [7, 2**63, 2**64 - 1], list(range(100, 164)) + [2**64 - 1]])
def test_keys_that_are_not_spread_evenly_are_found_too(key):
    lookup = Lookup(np.array(key, dtype=np.uint64), np.arange(1, len(key) + 1))
    asked = np.array([*key, 0, 4, 99, 164, 2**63 + 1, 2**64 - 2], dtype=np.uint64)
    expected = {k: n for n, k in enumerate(key, 1)}
    assert lookup.find(asked).tolist() == [expected.get(k, 0) for k in asked.tolist()]
