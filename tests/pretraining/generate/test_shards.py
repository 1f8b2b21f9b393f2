"""Shards: every passage once, whatever number of processes share them; a file that is there is complete."""

import pytest

from bmae_lightning.pretraining.generate.record import Generated
from bmae_lightning.pretraining.generate.shards import TextShards
from bmae_lightning.runtime.errors import BadInput


@pytest.mark.parametrize(("passages", "size"), [(10, 4), (8, 4), (3, 100), (5, 1)])
@pytest.mark.parametrize("world", [1, 2, 3])
def test_processes_share_all_passages(tmp_path, passages, size, world):
    shards = TextShards(tmp_path, passages, size)
    shared = [shards.missing(rank, world) for rank in range(world)]
    assert sorted(number for numbers in shared for number in numbers) == list(range(shards.count))
    assert [row for number in range(shards.count) for row in shards.rows(number)] == list(range(passages))


def test_finished_shards_are_left_out_and_read_in_order(tmp_path):
    shards = TextShards(tmp_path / "new", 5, 2)
    records = [Generated(f"p{i}", [f"q\u2028{i}"], None if i % 2 else "") for i in range(5)]
    for number in (2, 0):
        shards.write(number, [records[row] for row in shards.rows(number)])
    assert shards.missing() == [1]
    assert [shards.missing(rank, 2) for rank in (0, 1)] == [[], [1]]
    shards.write(1, records[2:4])
    assert list(shards.read()) == records


def test_a_shard_that_fails_while_it_is_written_is_not_there(tmp_path):
    shards = TextShards(tmp_path, 2, 2)

    def failing():
        yield Generated("p0", [], None)
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        shards.write(0, failing())
    assert shards.missing() == [0]


def test_a_damaged_shard_is_named(tmp_path):
    shards = TextShards(tmp_path, 4, 2)
    for number in (0, 1):
        shards.write(number, [Generated(f"p{row}", [], None) for row in shards.rows(number)])
    path = shards.path(1)
    path.write_text(path.read_text().splitlines()[0])
    with pytest.raises(BadInput, match=f"{path.name}: 1 lines instead of 2; delete the file"):
        list(shards.read())
