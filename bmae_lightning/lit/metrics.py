"""The metrics of logged steps: losses as means over devices and micro-batches, learning rate, items per second."""

import contextlib
import json
import math
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torchmetrics import MeanMetric

from bmae_lightning.lit.metrics_file import keep_until
from bmae_lightning.lit.module import StepCallback, TrainedModule
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import append_text
from bmae_lightning.runtime.progress import track


class StepMetrics(StepCallback):
    """Writes `metrics.jsonl`, feeds the logger, shows progress, stops on a loss that is not a number.

    The module leaves `parts` after each batch: name -> (mean, weight). Weighted means over processes and micro-batches
    are exact, so a run on two devices logs what one device with the same global batch logs. What it leaves in `once`
    (name -> number) is written with the line of that step, whatever `every` says.

    Args:
        path: the JSON-lines file; lines beyond the step continued from are dropped.
        label: of the progress bar.
        steps, batch_size: to count items and the time left.
        every: steps between two lines.
        unit: what an item is, `passages`.
    """

    def __init__(self, path: Path, label: str, steps: int, batch_size: int, every: int, unit: str) -> None:
        self.path, self.label, self.steps, self.batch_size, self.every = path, label, steps, batch_size, every
        self.unit = unit
        self.means: dict[str, MeanMetric] = {}
        self.stack = contextlib.ExitStack()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.seconds, self.since = time.monotonic(), self.step
        if trainer.is_global_zero:
            keep_until(self.path, self.step)
            items = (self.steps - self.step) * self.batch_size
            self.advance = self.stack.enter_context(track(self.label, items, unit=self.unit))

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        for name, (mean, weight) in pl_module.parts.items():
            if name not in self.means:
                self.means[name] = MeanMetric().to(pl_module.device)
            self.means[name].update(mean, weight)
        super().on_train_batch_end(trainer, pl_module, outputs, batch, batch_idx)

    def after_step(self, trainer: pl.Trainer, module: TrainedModule) -> None:
        if trainer.is_global_zero:
            self.advance(self.batch_size)
        once, module.once = module.once, {}
        if self.step % self.every == 0 or self.step == self.steps or once:
            self._write(trainer, module, once)
        for mean in self.means.values():
            mean.reset()

    def _write(self, trainer: pl.Trainer, module: TrainedModule, once: dict[str, float]) -> None:
        values = {name: mean.compute().item() for name, mean in self.means.items()} | once
        values["loss"] = module.total(values)
        if not math.isfinite(values["loss"]):
            raise BadInput(
                f"{self.label}: the loss is {values['loss']} at step {self.step}; lower lr or use "
                "trainer.precision=32-true; the last checkpoint is kept"
            )
        elapsed = time.monotonic() - self.seconds
        values["lr"] = trainer.optimizers[0].param_groups[0]["lr"]
        values[f"{self.unit}_per_second"] = (self.step - self.since) * self.batch_size / max(elapsed, 1e-9)
        self.seconds, self.since = time.monotonic(), self.step
        if trainer.is_global_zero:
            append_text(self.path, json.dumps({"step": self.step} | values) + "\n")
            for logger in trainer.loggers:
                logger.log_metrics(values, step=self.step)

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.stack.close()  # the last line of the progress comes before that of the error

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.stack.close()
