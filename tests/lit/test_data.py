"""The order of training data is a pure function of (seed, step)."""

import itertools

import pytest

from bmae_lightning.lit.data import StepBatches, item_order


def batches(items=10, batch_size=4, steps=6, seed=1, accumulate=1, rank=0, world=1, start=0, keys=None):
    return list(StepBatches(items, batch_size, steps, seed, accumulate, rank, world, start, keys))


def test_every_epoch_visits_every_item_once():
    stream = list(itertools.chain.from_iterable(batches(items=10, batch_size=4, steps=5)))
    assert sorted(row for row, epoch in stream if epoch == 0) == list(range(10))
    assert sorted(row for row, epoch in stream if epoch == 1) == list(range(10))
    assert [row for row, epoch in stream if epoch == 0] == item_order(10, 1, 0).tolist()
    assert item_order(10, 1, 0).tolist() != item_order(10, 1, 1).tolist()


@pytest.mark.parametrize("start", [1, 2, 5])
def test_a_resumed_run_continues_the_order(start):
    assert batches()[start:] == batches(start=start)


@pytest.mark.parametrize(("accumulate", "world"), [(2, 1), (1, 2), (2, 2), (1, 4)])
def test_the_global_batch_does_not_depend_on_devices_or_accumulation(accumulate, world):
    ranks = [batches(accumulate=accumulate, rank=rank, world=world) for rank in range(world)]
    merged = []
    for step in range(6):
        micro = range(step * accumulate, (step + 1) * accumulate)
        merged.append([item for m in micro for rank in ranks for item in rank[m]])
    assert merged == batches()


def test_another_seed_is_another_order():
    assert batches(seed=1) != batches(seed=2)


@pytest.mark.parametrize(("items", "batch_size"), [(4, 4), (5, 4), (7, 5), (10, 4), (12, 4)])
def test_no_key_stands_twice_in_a_step_and_epochs_stay_exact(items, batch_size):
    keys = list(range(items))
    made = batches(items, batch_size, 6 * items, keys=keys)
    assert all(len({row for row, _ in step}) == batch_size for step in made)
    visits = sorted(itertools.chain.from_iterable(made))
    assert visits == [(row, epoch) for row in keys for epoch in range(6 * batch_size)]
    assert made[: items // batch_size] == batches(items, batch_size, 6 * items)[: items // batch_size]
    for start in (1, 3, 2 * items + 1):
        assert batches(items, batch_size, 6 * items, start=start, keys=keys) == made[start:]
    ranks = [
        batches(items, batch_size, 6 * items, rank=rank, world=batch_size, keys=keys) for rank in range(batch_size)
    ]
    assert [[item for part in step for item in part] for step in zip(*ranks, strict=True)] == made


def test_without_a_meeting_of_epochs_in_a_step_nothing_changes():
    assert batches(12, 4, 30, keys=range(12)) == batches(12, 4, 30)


def test_rows_of_one_key_are_kept_apart_while_there_are_steps_for_them():
    keys = [0, 0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8]
    for seed in range(20):
        made = batches(12, 3, 40, seed, keys=keys)
        assert sorted(itertools.chain.from_iterable(made)) == [(row, epoch) for row in range(12) for epoch in range(10)]
        assert all(len({keys[row] for row, _ in step}) == 3 for step in made)
    crowded = batches(3, 2, 3, keys=[0, 0, 0])
    assert sorted(itertools.chain.from_iterable(crowded)) == [(row, epoch) for row in range(3) for epoch in range(2)]
