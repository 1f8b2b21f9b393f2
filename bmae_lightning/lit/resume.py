"""Checkpoints to continue from, and a clean stop on SIGTERM.

A checkpoint holds weights, optimiser, schedule, step and the random state of every process; the order of the data
follows from the step.
"""

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch

from bmae_lightning.lit.module import StepCallback
from bmae_lightning.runtime.checks import at_least
from bmae_lightning.runtime.errors import BadInput, Interrupted
from bmae_lightning.runtime.process import print_once


class ResumeCheckpoints(StepCallback):
    """Saves checkpoints and stops on SIGTERM.

    There is a checkpoint every `every_steps` steps, every `every_minutes` minutes, and after the last step, also where
    training stops early; the newest `keep` are kept.

    Args:
        directory: where the checkpoints lie; other files there are not touched.
        every_steps: optimiser steps between two checkpoints.
        every_minutes: save earlier when this much time has passed.
        keep: checkpoints kept.
    """

    def __init__(self, directory: Path, every_steps: int, every_minutes: float, keep: int = 2) -> None:
        at_least(1, **{"checkpoint.every_steps": every_steps})
        self.directory, self.every_steps, self.every_minutes, self.keep = directory, every_steps, every_minutes, keep
        self.asked_to_stop = False
        self.saved_at = time.monotonic()
        self.parent = os.getppid()
        self.random_states: list[dict[str, torch.Tensor]] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        super().on_train_start(trainer, pl_module)
        self.previous = signal.signal(signal.SIGTERM, self._ask_to_stop)
        self.saved_at = time.monotonic()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        if self.random_states is not None:
            state = self.random_states[trainer.global_rank % len(self.random_states)]
            torch.set_rng_state(state["cpu"])
            if "cuda" in state and torch.cuda.is_available():
                torch.cuda.set_rng_state(state["cuda"])
            self.random_states = None

    def after_step(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        overdue = time.monotonic() - self.saved_at > 60 * self.every_minutes
        stop = self.asked_to_stop or os.getppid() != self.parent
        overdue, stop = (trainer.strategy.reduce_boolean_decision(flag, all=False) for flag in (overdue, stop))
        last = self.step == trainer.max_steps or trainer.should_stop
        if stop or overdue or last or self.step % self.every_steps == 0:
            self.save(trainer)
        if stop:
            raise Interrupted(f"asked to stop: saved at step {self.step}; run the same command again to continue")

    def save(self, trainer: pl.Trainer) -> None:
        """Write a checkpoint (atomic) and remove the oldest; all processes must call it."""
        trainer.save_checkpoint(self.directory / f"step-{trainer.global_step:08d}.ckpt", weights_only=False)
        self.saved_at = time.monotonic()
        if trainer.is_global_zero:
            for old in sorted(self.directory.glob("step-*.ckpt"))[: -self.keep]:
                old.unlink()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        state = {"cpu": torch.get_rng_state()}
        if trainer.strategy.root_device.type == "cuda":
            state["cuda"] = torch.cuda.get_rng_state(trainer.strategy.root_device)
        states = [state]
        if trainer.world_size > 1:
            states = [{} for _ in range(trainer.world_size)]
            torch.distributed.all_gather_object(states, state)
        checkpoint["random_states"] = states

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self.random_states = checkpoint["random_states"]

    def teardown(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if hasattr(self, "previous"):
            signal.signal(signal.SIGTERM, self.previous)

    def _ask_to_stop(self, *_: Any) -> None:
        self.asked_to_stop = True


def newest_checkpoint(directory: Path, module: pl.LightningModule) -> Path | None:
    """The newest checkpoint in `directory` that can be read; one that cannot is reported and skipped.

    Raises:
        BadInput: the checkpoint is of another architecture.
    """
    for path in sorted(directory.glob("step-*.ckpt"), reverse=True):
        try:
            state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)["state_dict"]
        except Exception as error:  # noqa: BLE001  whatever is wrong with this file, an older one may be whole
            print_once(f"{path}: skipped, it cannot be read ({type(error).__name__})")
            continue
        check_architecture(state, module.state_dict(), path)
        return path
    return None


def step_of(path: Path | None) -> int:
    """The step in the name of what was saved after it, 0 for nothing."""
    return int(path.stem.partition("-")[2]) if path else 0


def check_architecture(found: dict[str, torch.Tensor], wanted: dict[str, torch.Tensor], path: Path) -> None:
    """Compare names and shapes of parameters.

    Raises:
        BadInput: they differ; names the first difference.
    """
    for name in sorted(set(found) | set(wanted)):
        shapes = [tuple(state[name].shape) if name in state else "absent" for state in (found, wanted)]
        if shapes[0] != shapes[1]:
            raise BadInput(
                f"{path}: a checkpoint of another architecture ({name} is {shapes[0]} there, {shapes[1]} in this "
                "model): use the options it was trained with, or delete it to start again"
            )
