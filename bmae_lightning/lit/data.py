"""What every device sees at every step, as a pure function of (seed, step), and the DataModules that serve it.

Workers only slice memory-mapped word-piece ids; nothing is masked here or drawn from the state of a generator, so a
resumed run, any number of workers and any number of devices see the same texts.
"""

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, count
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

Item = tuple[int, int]
"""(row, epoch)"""


def item_order(items: int, seed: int, epoch: int) -> np.ndarray:
    """The permutation of `items` rows in `epoch`."""
    return np.random.Generator(np.random.Philox(key=[seed, epoch])).permutation(items)


def apart(order: np.ndarray, keys: Sequence[int], before: Sequence[int], batch_size: int, first: int) -> np.ndarray:
    """`order` with as few exchanges as possible so that no batch has two items of one key.

    An item whose key its batch already has changes places with the next one whose key it has not, or else with one of
    an earlier batch where that fits both. Where there is none (a key with more items than there are batches) it stays.

    Args:
        order: rows of one epoch.
        keys: of every row.
        before: rows of the epoch before that stand in the batch with which this one begins.
        batch_size: rows of a batch.
        first: how many batches can have a key twice, counted from the front.
    """
    order, shift = order.copy(), len(before)
    held = [{keys[row] for row in before}]
    for place in range(min(len(order), first * batch_size - shift)):
        if (number := (place + shift) // batch_size) == len(held):
            held.append(set())
        key, seen = keys[order[place]], held[number]
        later = (at for at in range(place, len(order)) if keys[order[at]] not in seen)
        earlier = (
            at for at in range(number * batch_size - shift)
            if keys[order[at]] not in seen and key not in held[(at + shift) // batch_size]
        )  # fmt: skip
        other = next(chain(later, earlier), place)
        if other < place:
            there = held[(other + shift) // batch_size]
            there.remove(keys[order[other]])
            there.add(key)
        order[[place, other]] = order[[other, place]]
        seen.add(keys[order[place]])
    return order


class StepBatches(Sampler[list[Item]]):
    """The micro-batches of one process.

    Step s takes items s·B .. (s+1)·B − 1 of the endless sequence of epochs (B = `batch_size`); its micro-batches and
    processes take consecutive slices, so that the global batch does not depend on either number.

    Args:
        items: number of rows.
        batch_size: items per optimiser step over all ranks and accumulated micro-batches.
        steps: optimiser steps in all.
        accumulate: micro-batches per step.
        rank, world: this process and how many there are.
        start: first step to serve (a resumed run's).
        keys: of every row; no two rows of one key stand in one step, see `apart`. None: nothing is kept apart.
    """

    def __init__(
        self, items: int, batch_size: int, steps: int, seed: int, accumulate: int, rank: int, world: int, start: int,
        keys: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        self.items, self.batch_size, self.steps, self.seed = items, batch_size, steps, seed
        self.accumulate, self.rank, self.world, self.start, self.keys = accumulate, rank, world, start, keys

    def __len__(self) -> int:
        return self.steps * self.accumulate

    def __iter__(self) -> Iterator[list[Item]]:
        size = self.batch_size // (self.accumulate * self.world)
        orders = self._orders()
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for micro in range(self.start * self.accumulate, self.steps * self.accumulate):
            first = (micro * self.world + self.rank) * size
            batch = []
            for position in range(first, first + size):
                while position // self.items != epoch:
                    epoch, order = next(orders)
                batch.append((int(order[position % self.items]), epoch))
            yield batch

    def _orders(self) -> Iterator[tuple[int, np.ndarray]]:
        """Every epoch and its rows; from the first one on where keys are kept apart, as each depends on the last."""
        if self.keys is None:
            begin = self.start * self.batch_size // self.items
            yield from ((epoch, item_order(self.items, self.seed, epoch)) for epoch in count(begin))
            return
        first = 1 if len(set(self.keys)) == self.items else self.items  # keys that differ meet where epochs do
        order = np.empty(0, dtype=np.int64)
        for epoch in count():
            before = order[len(order) - epoch * self.items % self.batch_size :]
            order = apart(item_order(self.items, self.seed, epoch), self.keys, before, self.batch_size, first)
            yield epoch, order


class BatchDataset(Dataset):
    """Items in, one collated batch out, so that a worker makes whole batches."""

    def __init__(self, collate: Callable[[Sequence[Item]], Any]) -> None:
        self.collate = collate

    def __getitem__(self, items: Sequence[Item]) -> Any:
        return self.collate(items)


class TrainingData(pl.LightningDataModule):
    """Serves training batches.

    Args:
        collate: makes a batch from (row, epoch) pairs; picklable for workers.
        items: number of rows.
        batch_size: items per optimiser step over all devices and accumulated batches.
        steps: optimiser steps in all.
        seed: of the order.
        workers: data-loading processes per device.
        keys: see `StepBatches`.
    """

    def __init__(
        self, collate: Callable[[Sequence[Item]], Any], items: int, batch_size: int, steps: int, seed: int,
        workers: int, keys: Sequence[int] | None = None,
    ) -> None:  # fmt: skip
        super().__init__()
        self.collate, self.items, self.batch_size = collate, items, batch_size
        self.steps, self.seed, self.workers, self.keys = steps, seed, workers, keys

    def train_dataloader(self) -> DataLoader:
        trainer = self.trainer
        batches = StepBatches(
            self.items, self.batch_size, self.steps, self.seed,
            trainer.accumulate_grad_batches, trainer.global_rank, trainer.world_size, trainer.global_step,
            self.keys,
        )  # fmt: skip
        return DataLoader(
            BatchDataset(self.collate),
            sampler=batches,
            batch_size=None,
            num_workers=self.workers,
            persistent_workers=False,
            pin_memory=trainer.strategy.root_device.type == "cuda",
            generator=torch.Generator().manual_seed(self.seed),
        )
