"""Share long work among all processes of a trainer: each writes its shards, skips finished ones, and stops on SIGTERM.

Processes wait for each other's files, never in a collective operation, whose timeout the slowest shard would exceed.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from bmae_lightning.lit.fit import make_trainer, sigterm_restored
from bmae_lightning.retrieval.reranking.score_pairs import PairScorer, PairShards
from bmae_lightning.runtime.errors import Interrupted
from bmae_lightning.runtime.process import launched
from bmae_lightning.runtime.progress import track
from bmae_lightning.runtime.shards import Shards


@dataclass(frozen=True)
class Process:
    """One of the processes that share the work.

    Attributes:
        rank, world: which of how many it is.
        device: of its model, as torch names it.
        check: raises Interrupted where a stop was asked for; told the shards that are being written.
    """

    rank: int
    world: int
    device: str
    check: Callable[[Shards | None], None]

    @contextmanager
    def track(self, label: str, shards: Shards, unit: str, each: int = 1) -> Iterator[Callable[[int], None]]:
        """Yield `advance(n)`, to be called whenever n units of this process's unfinished shards are done.

        `advance` raises Interrupted where a stop was asked for.  each: units that an item of a shard makes.
        """
        total = sum(len(shards.rows(number)) for number in shards.missing(self.rank, self.world)) * each
        share = f" (1 of {self.world} processes)" if self.world > 1 else ""

        with track(label + share, total, unit) as shown:

            def advance(count: int) -> None:
                shown(count)
                self.check(shards)

            yield advance

    def wait_for(self, ready: Callable[[], bool]) -> None:
        """Return once `ready()` is true, which is asked ten times a second."""
        while not ready():
            self.check(None)
            time.sleep(0.1)


class Left(Exception):
    """Ends a process that Lightning launched; if it had an exit code, Lightning would kill the first process."""


class Work(pl.LightningModule):
    """Calls `work` once in every process.

    Args:
        model: what it needs on the device.
        work: told of the process.
    """

    def __init__(self, model: torch.nn.Module, work: Callable[[Process], None]) -> None:
        super().__init__()
        self.model, self.work = model, work
        self.stopped, self.parent = False, os.getppid()

    def on_predict_start(self) -> None:
        signal.signal(signal.SIGTERM, self._ask_to_stop)

    def predict_step(self, batch: torch.Tensor, index: int) -> None:
        with suppress(Left):
            self.work(Process(self.trainer.global_rank, self.trainer.world_size, str(self.device), self._check))

    def _check(self, shards: Shards | None) -> None:
        """End the work if a stop was asked for; processes above the first also notice that the first is gone."""
        later = self.trainer.global_rank > 0
        if self.stopped or (later and os.getppid() != self.parent):
            if later and not launched():
                raise Left
            state = ""
            if shards is not None:
                state = f": {shards.count - len(shards.missing())} of {shards.count} shards are written"
            raise Interrupted(f"asked to stop{state}; run the same command again to continue")

    def _ask_to_stop(self, number: int, *_: Any) -> None:
        """Hand the signal on to the processes that Lightning launched; other launchers do that themselves."""
        self.stopped = True
        if self.trainer.strategy.launcher is not None:
            self.trainer.strategy.launcher.kill(number)


def share(
    trainer: partial, model: torch.nn.Module, work: Callable[[Process], None], label: str, directory: Path,
    **settings: Any,
) -> None:  # fmt: skip
    """Call `work` in every process of the trainer, with `model` on its device.

    settings: of the trainer, above the configuration's.

    Raises:
        BadInput: devices that do not exist.
        Interrupted: asked to stop; finished shards are kept.
    """
    built = make_trainer(trainer, label, default_root_dir=directory, **settings)
    with sigterm_restored():
        built.predict(Work(model, work), DataLoader([0]), return_predictions=False)


def score_pairs(trainer: partial, scorer: PairScorer, shards: PairShards, label: str, directory: Path) -> None:
    """Score pairs with a cross-encoder: write every missing shard; the first process returns when all are there.

    In 32 bit whatever the trainer's precision, as 16 bits would make scores equal.

    Raises:
        BadInput: devices that do not exist.
        Interrupted: asked to stop; finished shards are kept.
    """

    def work(process: Process) -> None:
        with process.track(label, shards, "pairs") as advance:
            for number in shards.missing(process.rank, process.world):
                shards.write(number, scorer(shards.pairs(number), advance, process.device))
        if process.rank == 0:
            process.wait_for(lambda: not shards.missing())

    share(trainer, scorer.model, work, label, directory, precision="32-true")
