"""The options and steps that all stages share that train a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmae_lightning.lit.fit import check_trainer, fit
from bmae_lightning.lit.metrics_file import read_metrics
from bmae_lightning.lit.optimisation import AdamW, LinearSchedule, Optimisation, number_of_steps
from bmae_lightning.report.tracking.loggers import Tracking
from bmae_lightning.runtime.checks import at_least
from bmae_lightning.runtime.files import write_json
from bmae_lightning.runtime.stage import Context, Stage

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from bmae_lightning.lit.data import Item, TrainingData
    from bmae_lightning.lit.module import TrainedModule


@dataclass(kw_only=True)
class FittingStage(Stage):
    """A stage that fits models, whatever decides how long.

    Args:
        optim, schedule: makers of the optimiser and of its learning-rate schedule.
        trainer: makes Lightning's Trainer.
        logger: makes the loggers of a run.
        seed: of all that is random.
        batch_size: items per step over all devices and accumulated batches.
        checkpoint: `every_steps` and `every_minutes` between two checkpoints to continue from.
        log_every: steps between two lines of metrics.

    Raises:
        ValueError: a number that is too small.
    """

    optim: AdamW
    schedule: LinearSchedule
    trainer: partial
    logger: Tracking
    seed: int
    batch_size: int
    checkpoint: dict[str, Any]
    log_every: int = 1

    def __post_init__(self) -> None:
        at_least(1, batch_size=self.batch_size, log_every=self.log_every)
        if not isinstance(self.checkpoint, dict) or self.checkpoint.keys() != {"every_steps", "every_minutes"}:
            raise ValueError(f"checkpoint must have every_steps and every_minutes, got {self.checkpoint}")
        at_least(1, **{"checkpoint.every_steps": self.checkpoint["every_steps"]})

    def fit(
        self, module: TrainedModule, data: TrainingData, loggers: list, directory: Path, label: str, unit: str,
        callbacks: Sequence[pl.Callback] = (), trainer: partial | None = None,
    ) -> pl.Trainer:  # fmt: skip
        """`lit.fit.fit` with the options of this stage; `trainer` stands in for the stage's own."""
        return fit(
            trainer or self.trainer, module, data, loggers, directory, label,
            self.log_every, self.checkpoint, unit, callbacks,
        )  # fmt: skip


@dataclass(kw_only=True)
class TrainingStage(FittingStage):
    """A stage that trains one model for `steps` steps, or for `epochs` passes over its items.

    Args:
        lr: peak learning rate.
        warmup: steps of warm-up; below 1 a share of all steps.
        weight_decay: of matrices.
        steps, epochs: one of them.
        workers: data-loading processes per device.

    Raises:
        ValueError: both or neither of `steps` and `epochs`, or a number that is too small.
    """

    lr: float
    warmup: float
    weight_decay: float
    steps: int | None = None
    epochs: float | None = None
    workers: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, warmup=self.warmup, weight_decay=self.weight_decay, workers=self.workers)
        for rate in self.lr if isinstance(self.lr, list) else [self.lr]:
            at_least(0, lr=rate)
        number_of_steps(self.steps, self.epochs, 1, 1)

    def preflight(self, splits: list[str]) -> None:
        check_trainer(self.trainer, self.batch_size, self.name)

    def steps_over(self, items: int) -> int:
        """Optimiser steps for a training set of so many items."""
        return number_of_steps(self.steps, self.epochs, items, self.batch_size)

    def estimated_steps(self, items: float) -> float:
        """The same for an estimate, where `items` may not be known."""
        return self.steps if self.epochs is None else -(-self.epochs * items // self.batch_size)

    def optimisation(self, steps: int, lr: float | None = None) -> Optimisation:
        """What a `TrainedModule` is trained with whose schedule has so many steps; `lr` stands in for the stage's."""
        rate = self.lr if lr is None else lr
        return Optimisation(self.optim, self.schedule, rate, self.weight_decay, self.warmup, steps)

    def data(
        self, collate: Callable[[Sequence[Item]], Any], items: int, steps: int, keys: Sequence[int] | None = None
    ) -> TrainingData:
        """The batches of so many steps; `collate` makes one from (row, epoch) pairs of `items` rows.

        keys: of every row; no step has one twice, None where that does not matter.
        """
        from bmae_lightning.lit.data import TrainingData

        return TrainingData(collate, items, self.batch_size, steps, self.seed, self.workers, keys)

    def write_results(self, context: Context, **more: Any) -> None:
        """Write metrics.json: the last line of metrics.jsonl, and `more`."""
        results = read_metrics(context.directory / "metrics.jsonl")[-1]
        write_json(context.directory / "metrics.json", results | more)
