"""The smallest training run: a linear regression with dropout through `lit.fit.fit`, in a fraction of a second."""

import json
from functools import partial
from pathlib import Path

import pytorch_lightning as pl
import torch
from torch import nn

from bmae_lightning.lit.data import TrainingData
from bmae_lightning.lit.fit import fit
from bmae_lightning.lit.module import TrainedModule
from bmae_lightning.lit.optimisation import AdamW, LinearSchedule, Optimisation
from bmae_lightning.runtime.errors import BadInput

STEPS, BATCH = 6, 4


def rows(items):
    """Two numbers and their target for each (row, epoch)."""
    number_B = torch.tensor([row for row, _ in items], dtype=torch.float32)
    return torch.stack([number_B / 10, 1 - number_B / 10], 1), number_B.sin()


class Regression(TrainedModule):
    """Two weighted losses; both are noted with the number of rows."""

    def __init__(self, dropout: float = 0.2, width: int = 2, rate: float = 0.1) -> None:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Dropout(dropout), nn.Linear(width, 1))
        super().__init__(model, Optimisation(AdamW([0.9, 0.999]), LinearSchedule(), rate, 0.01, 0.2, STEPS))
        self.weights = {"size": 0.5}

    def training_step(self, batch, index):
        input_BD, target_B = batch
        found_B = self.model(input_BD)[:, 0]
        square, size = (found_B - target_B).square().mean(), found_B.square().mean()
        count = self.count(len(target_B))
        self.parts = {"loss/square": (square.detach(), count), "loss/size": (size.detach(), count)}
        return square + 0.5 * size


class At(pl.Callback):
    """Calls `act()` when the given optimiser step ends, before metrics and checkpoints are written."""

    def __init__(self, step: int, act) -> None:
        self.at, self.act = step, act

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx) -> None:
        if trainer.global_step == self.at and not trainer.fit_loop._should_accumulate():
            self.act()


class Breaks(pl.Callback):
    """Ends the run in the middle of the step after `step`."""

    def __init__(self, step: int) -> None:
        self.step = step

    def on_before_zero_grad(self, trainer, pl_module, optimizer) -> None:
        if trainer.global_step == self.step:
            raise BadInput("broken")


def train(directory: Path, module=None, callbacks=(), log_every=1, every_steps=2, **trainer) -> Regression:
    """The module after `STEPS` steps over 10 rows, from the newest checkpoint in `directory`."""
    directory.mkdir(exist_ok=True)
    module = module or Regression()
    options = partial(pl.Trainer, **({"accelerator": "cpu", "devices": 1} | trainer))
    checkpoint = {"every_steps": every_steps, "every_minutes": 60}
    data = TrainingData(rows, 10, BATCH, STEPS, 1, 0)
    fit(options, module, data, [], directory, "regression", log_every, checkpoint, "rows", callbacks)
    return module


def lines(directory: Path) -> list[dict]:
    """What metrics.jsonl holds, without the speed."""
    found = [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "rows_per_second"} for line in found]
