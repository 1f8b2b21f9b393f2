"""The order of training data is a pure function of (seed, step)."""

import itertools

import pytest

from bmae_lightning.lit.data import StepBatches, item_order


def batches(items=10, batch_size=4, steps=6, seed=1, accumulate=1, rank=0, world=1, start=0):
    return list(StepBatches(items, batch_size, steps, seed, accumulate, rank, world, start))


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
