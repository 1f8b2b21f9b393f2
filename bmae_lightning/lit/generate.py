"""Generate texts about all passages: shards over devices and nodes, finished ones skipped, a clean stop on SIGTERM."""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader, IterableDataset

from bmae_lightning.errors import Interrupted
from bmae_lightning.generate.record import Generated
from bmae_lightning.generate.shards import Shards
from bmae_lightning.generate.writer import Writer
from bmae_lightning.lit.fit import make_trainer, quiet_lightning, sigterm_restored
from bmae_lightning.progress import track
from bmae_lightning.rank import launched

Texts = Callable[[], Iterator[tuple[str, str]]]
"""(id, text) of every passage, from the beginning at each call."""


class ShardTexts(IterableDataset):
    """The texts of one process's unfinished shards, read in one pass: (number of the shard, [(id, text)])."""

    def __init__(self, shards: Shards, texts: Texts, rank: int, world: int) -> None:
        self.shards, self.texts, self.rank, self.world = shards, texts, rank, world

    def __iter__(self) -> Iterator[tuple[int, list[tuple[str, str]]]]:
        passages = enumerate(self.texts())
        for number in self.shards.missing(self.rank, self.world):
            rows = self.shards.rows(number)
            taken = []
            for row, passage in passages:
                if row in rows:
                    taken.append(passage)
                if row == rows[-1]:
                    break
            yield number, taken


class GenerationData(pl.LightningDataModule):
    """Serves each process the texts of its shards."""

    def __init__(self, shards: Shards, texts: Texts) -> None:
        super().__init__()
        self.shards, self.texts = shards, texts

    def predict_dataloader(self) -> DataLoader:
        texts = ShardTexts(self.shards, self.texts, self.trainer.global_rank, self.trainer.world_size)
        return DataLoader(texts, batch_size=None)


class GenerationModule(pl.LightningModule):
    """Writes one shard per step.

    Args:
        writers: `queries` and `continuation`, or one of them.
        shards: where texts are written.
        batch_size: passages written about at a time.
        seed: of what is drawn.
    """

    def __init__(self, writers: dict[str, Writer], shards: Shards, batch_size: int, seed: int) -> None:
        super().__init__()
        self.models = torch.nn.ModuleDict({role: writer.model for role, writer in writers.items()})
        self.writers, self.shards, self.batch_size, self.seed = writers, shards, batch_size, seed
        self.advance: Callable[[int], None] = lambda count: None
        self.asked_to_stop: Callable[[], bool] = lambda: False
        self.leaves_silently = (
            False  # a process that Lightning launched: with an exit code it would have the first killed
        )

    def predict_step(self, batch: tuple[int, list[tuple[str, str]]], index: int) -> None:
        number, passages = batch
        written: dict[str, list[list[str]]] = {role: [[]] * len(passages) for role in self.writers}
        order = sorted(range(len(passages)), key=lambda i: -len(passages[i][1]))
        for role, writer in self.writers.items():
            for start in range(0, len(order), self.batch_size):
                if self.asked_to_stop() and self.leaves_silently:
                    return
                if self.asked_to_stop():
                    raise Interrupted(
                        f"asked to stop: {self.shards.count - len(self.shards.missing())} of {self.shards.count} shards "
                        "are written; run the same command again to continue"
                    )
                chosen = order[start : start + self.batch_size]
                rows = [self.shards.rows(number)[i] for i in chosen]
                texts = writer.write([passages[i][1] for i in chosen], rows, self.seed, f"generate/{role}")
                for i, answers in zip(chosen, texts, strict=True):
                    written[role][i] = answers
                self.advance(len(chosen))
        queries = written.get("queries", [[]] * len(passages))
        continuations = written.get("continuation", [[None]] * len(passages))
        records = [
            Generated(id, [query for query in queries[i] if query], continuations[i][0])
            for i, (id, _) in enumerate(passages)
        ]
        self.shards.write(number, records)


class Watch(pl.Callback):
    """Progress of the first process, the clean stop, and the wait for the other processes' shards.

    Args:
        shards: pieces of work with `missing` and `rows`.
        label, unit: of the progress.
        each: units that a row of a shard makes.

    Only batches are looked at for a stop, not the other processes: these get the signal from their launcher, or from
    here where Lightning launched them.
    """

    def __init__(self, shards: Any, label: str, unit: str, each: int = 1) -> None:
        self.shards, self.label, self.unit, self.each = shards, label, unit, each
        self.stack = contextlib.ExitStack()
        self.stopped, self.parent = False, os.getppid()

    def on_predict_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.launcher = trainer.strategy.launcher
        signal.signal(signal.SIGTERM, self._ask_to_stop)
        pl_module.asked_to_stop = lambda: self.stopped or (trainer.global_rank > 0 and os.getppid() != self.parent)
        pl_module.leaves_silently = trainer.global_rank > 0 and not launched()
        if trainer.is_global_zero:
            own = self.shards.missing(0, trainer.world_size)
            total = sum(len(self.shards.rows(number)) for number in own) * self.each
            share = f" (1 of {trainer.world_size} processes)" if trainer.world_size > 1 else ""
            pl_module.advance = self.stack.enter_context(track(self.label + share, total, unit=self.unit))

    def on_predict_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.stack.close()
        while trainer.is_global_zero and self.shards.missing():
            if self.stopped:
                raise Interrupted("asked to stop; run the same command again to continue")
            time.sleep(0.1)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.stack.close()  # the last line of the progress comes before that of the error

    def _ask_to_stop(self, number: int, *_: Any) -> None:
        self.stopped = True
        if self.launcher is not None:
            self.launcher.kill(number)


def generate(
    trainer: partial, writers: dict[str, Writer], shards: Shards, texts: Texts, batch_size: int, seed: int,
    label: str, directory: Path,
) -> None:  # fmt: skip
    """Write every shard that is not there yet, on all devices of the trainer; the first process returns when all are.

    Raises:
        BadInput: devices that do not exist.
        Interrupted: asked to stop; finished shards are kept.
    """
    quiet_lightning()
    built = make_trainer(
        trainer,
        label,
        logger=False,
        callbacks=[Watch(shards, label, "texts", len(writers))],
        default_root_dir=directory,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        use_distributed_sampler=False,
    )
    module = GenerationModule(writers, shards, batch_size, seed)
    with sigterm_restored():
        built.predict(module, datamodule=GenerationData(shards, texts), return_predictions=False)
