"""What is written down at every logged step: means over all devices and accumulated batches, rate, learning rate."""

import contextlib
import json
import math
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from torchmetrics import MeanMetric

from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import append_text, write_text
from bmae_lightning.runtime.progress import track


class StepMetrics(pl.Callback):
    """Writes `metrics.jsonl`, feeds the logger, shows progress, stops on a loss that is not a number.

    The module leaves `parts` after each batch: name -> (mean, weight). Weighted means over ranks and micro-batches are
    exact, so a run on two devices logs what one device with the same global batch logs. What it leaves in `once` (name ->
    number) is written with the line of that step, which is then written whatever `every` says.

    Args:
        path: the JSON-lines file; lines beyond the step continued from are dropped.
        label: of the progress bar.
        steps, batch_size: to count texts and the time left.
        every: steps between two lines.
    """

    def __init__(self, path: Path, label: str, steps: int, batch_size: int, every: int, unit: str) -> None:
        self.path, self.label, self.steps, self.batch_size, self.every = path, label, steps, batch_size, every
        self.unit = unit
        self.means: dict[str, MeanMetric] = {}
        self.stack = contextlib.ExitStack()

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seconds, self.since = time.monotonic(), trainer.global_step
        self.shown = trainer.global_step
        if trainer.is_global_zero:
            _keep_until(self.path, trainer.global_step)
            self.advance = self.stack.enter_context(
                track(self.label, (self.steps - trainer.global_step) * self.batch_size, unit=self.unit)
            )

    def on_train_batch_end(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        for name, (mean, weight) in pl_module.parts.items():
            if name not in self.means:
                self.means[name] = MeanMetric().to(pl_module.device)
            self.means[name].update(mean, weight)
        if trainer.fit_loop._should_accumulate() or trainer.global_step == self.shown:
            return
        self.shown = trainer.global_step
        if trainer.is_global_zero:
            self.advance(self.batch_size)
        once, pl_module.once = getattr(pl_module, "once", {}), {}
        if trainer.global_step % self.every and trainer.global_step != self.steps and not once:
            self._reset()
            return
        values = {name: mean.compute().item() for name, mean in self.means.items()} | once
        self._reset()
        values["loss"] = pl_module.total(values)
        if not math.isfinite(values["loss"]):
            raise BadInput(
                f"{self.label}: the loss is {values['loss']} at step {trainer.global_step}; lower lr or use "
                "trainer.precision=32-true; the last checkpoint is kept"
            )
        elapsed = time.monotonic() - self.seconds
        values["lr"] = trainer.optimizers[0].param_groups[0]["lr"]
        values[f"{self.unit}_per_second"] = (trainer.global_step - self.since) * self.batch_size / max(elapsed, 1e-9)
        self.seconds, self.since = time.monotonic(), trainer.global_step
        if trainer.is_global_zero:
            append_text(self.path, json.dumps({"step": trainer.global_step} | values) + "\n")
            for logger in trainer.loggers:
                logger.log_metrics(values, step=trainer.global_step)

    def _reset(self) -> None:
        for mean in self.means.values():
            mean.reset()

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        self.stack.close()  # the last line of the progress comes before that of the error

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        self.stack.close()


def _keep_until(path: Path, step: int) -> None:
    if path.is_file():
        lines = [line for line in path.read_text(encoding="utf-8").splitlines(True) if line.endswith("\n")]
        write_text(path, "".join(line for line in lines if json.loads(line)["step"] <= step))


VALIDATION = "validation/"
"""What the names of measures begin with that a stage takes while it trains."""


def read_metrics(path: Path) -> list[dict[str, float]]:
    """The lines of a `metrics.jsonl`, one per logged step."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
