"""What every device sees at every step, as a pure function of (seed, step), and the DataModules that serve it.

Workers only slice memory-mapped word-piece ids; nothing is masked here or drawn from the state of a generator, so a
resumed run, any number of workers and any number of devices see the same texts.
"""

from collections.abc import Callable, Iterator, Sequence
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
    """

    def __init__(
        self, items: int, batch_size: int, steps: int, seed: int, accumulate: int, rank: int, world: int, start: int
    ) -> None:
        self.items, self.batch_size, self.steps, self.seed = items, batch_size, steps, seed
        self.accumulate, self.rank, self.world, self.start = accumulate, rank, world, start

    def __len__(self) -> int:
        return self.steps * self.accumulate

    def __iter__(self) -> Iterator[list[Item]]:
        size = self.batch_size // (self.accumulate * self.world)
        epoch, order = -1, np.empty(0, dtype=np.int64)
        for micro in range(self.start * self.accumulate, self.steps * self.accumulate):
            first = (micro * self.world + self.rank) * size
            batch = []
            for position in range(first, first + size):
                if position // self.items != epoch:
                    epoch = position // self.items
                    order = item_order(self.items, self.seed, epoch)
                batch.append((int(order[position % self.items]), epoch))
            yield batch


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
    """

    def __init__(
        self, collate: Callable[[Sequence[Item]], Any], items: int, batch_size: int, steps: int, seed: int, workers: int
    ) -> None:
        super().__init__()
        self.collate, self.items, self.batch_size = collate, items, batch_size
        self.steps, self.seed, self.workers = steps, seed, workers

    def train_dataloader(self) -> DataLoader:
        trainer = self.trainer
        batches = StepBatches(
            self.items, self.batch_size, self.steps, self.seed,
            trainer.accumulate_grad_batches, trainer.global_rank, trainer.world_size, trainer.global_step,
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
