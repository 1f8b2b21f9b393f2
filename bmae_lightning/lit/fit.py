"""Fit a LightningModule with the trainer of the configuration: callbacks, loggers, resuming, clean ends."""

from __future__ import annotations

import logging
import os
import signal
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.process import launched, print_once

if TYPE_CHECKING:
    import pytorch_lightning as pl

    from bmae_lightning.lit.data import TrainingData

QUIET = {
    "logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "enable_model_summary": False,
    "use_distributed_sampler": False,
}  # fmt: skip
"""What Lightning does by itself and is done by the package instead."""

IGNORED = (
    ".*does not have many workers.*", ".*is not a valid checkpoint.*", ".*ended before the epoch ended.*",
    ".*`isinstance\\(treespec, LeafSpec\\)` is deprecated.*", ".*checkpoint directory.*exists.*",
    ".*unexpected keyword argument.*", ".*Online softmax.*", ".*predict returned None.*",
    ".*in eval mode at the start of training.*",
)  # fmt: skip
"""Warnings of Lightning about what the package does on purpose."""


def fit(
    trainer: partial,
    module: pl.LightningModule,
    data: TrainingData,
    loggers: list[pl.loggers.Logger],
    directory: Path,
    label: str,
    log_every: int,
    checkpoint: dict[str, float],
    unit: str,
    callbacks: Sequence[pl.Callback] = (),
) -> pl.Trainer:
    """Train for `data.steps` optimiser steps, from the newest checkpoint in `directory` if there is one.

    Args:
        trainer: makes the Trainer.
        module: left with the trained parameters.
        data: the batches of all steps.
        loggers: get the metrics that are written to metrics.jsonl.
        directory: of metrics.jsonl and checkpoints/.
        label: of the progress bar and of messages.
        log_every: steps between two lines of metrics.
        checkpoint: `every_steps` and `every_minutes` between two checkpoints.
        unit: what an item of `data` is, `passages`.
        callbacks: called before those that write metrics and checkpoints.

    Raises:
        BadInput: devices that do not exist, a batch that cannot be shared out, a checkpoint of another architecture.
        Interrupted: asked to stop; the state is saved.
    """
    from bmae_lightning.lit.metrics import StepMetrics
    from bmae_lightning.lit.resume import ResumeCheckpoints, newest_checkpoint

    resume = ResumeCheckpoints(
        directory / "checkpoints", int(checkpoint["every_steps"]), float(checkpoint["every_minutes"])
    )
    metrics = StepMetrics(directory / "metrics.jsonl", label, data.steps, data.batch_size, log_every, unit)
    built = make_trainer(
        trainer,
        label,
        max_steps=data.steps,
        max_epochs=-1,
        logger=loggers,
        callbacks=[*callbacks, metrics, resume],
        default_root_dir=directory,
        num_sanity_val_steps=0,
        log_every_n_steps=1,
    )
    print_once(
        f"{label}: {data.steps} steps of {data.batch_size} {unit} from {data.items}, {built.num_devices} x "
        f"{built.strategy.root_device.type}, first checkpoint at step {min(data.steps, int(checkpoint['every_steps']))}"
    )
    path = newest_checkpoint(directory / "checkpoints", module)
    if path:
        print_once(f"continuing from {path}")
    module.train()
    with sigterm_restored():
        built.fit(module, datamodule=data, ckpt_path=path, weights_only=True)
    return built


@contextmanager
def sigterm_restored() -> Iterator[None]:
    """Restore the handler of SIGTERM at the end; Lightning's own, which it leaves behind, would ignore the signal."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)


def make_trainer(trainer: partial, label: str, **settings: Any) -> pl.Trainer:
    """The Trainer of the configuration with a stage's own settings above it; bf16 only where there is bf16.

    label: of the stage, in messages.

    Raises:
        BadInput: devices that do not exist, or options that Lightning refuses.
    """
    import pytorch_lightning as pl
    import torch
    from pytorch_lightning.plugins.environments import LightningEnvironment

    quiet_lightning()
    options = trainer.keywords | QUIET | settings
    if options.get("accelerator") in ("gpu", "cuda") and not torch.cuda.is_available():
        raise BadInput("trainer.accelerator=gpu: there is no CUDA GPU here; use trainer=cpu or trainer=ddp_cpu")
    if "SLURM_NTASKS" in os.environ and not launched():  # one task: Lightning starts the processes of its devices
        options["plugins"] = [*options.get("plugins", ()), LightningEnvironment()]
    if "bf16" in str(options.get("precision")) and torch.cuda.is_available() and not torch.cuda.is_bf16_supported():
        print_once(f"{label}: this GPU has no bf16; training in 32 bit (trainer.precision=32-true)")
        options["precision"] = "32-true"
    try:
        return trainer.func(**options)
    except (TypeError, ValueError, RuntimeError, pl.utilities.exceptions.MisconfigurationException) as error:
        raise BadInput(f"trainer: {str(error).splitlines()[0]}") from error


def shares_of(trainer: partial, stage: str) -> int:
    """Into how many micro-batches a step is divided over devices and accumulation."""
    built = make_trainer(trainer, stage)
    return built.world_size * built.accumulate_grad_batches


def check_trainer(trainer: partial, batch_size: int, stage: str) -> None:
    """Raise BadInput if the trainer cannot be made or the batch cannot be shared out among its devices."""
    share = shares_of(trainer, stage)
    if batch_size % share:
        raise BadInput(
            f"{stage}.batch_size={batch_size} must be a multiple of devices x trainer.accumulate_grad_batches = {share}"
        )


def quiet_lightning() -> None:
    """Leave out what Lightning reports by itself, and its warnings in IGNORED."""
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    logging.getLogger("lightning_fabric").setLevel(logging.ERROR)
    for message in IGNORED:
        warnings.filterwarnings("ignore", message)
