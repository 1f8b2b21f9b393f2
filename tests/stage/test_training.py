"""The options that stages share that train a model: what is refused, and what becomes of them."""

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from bmae_lightning.lit.optimisation import AdamW, LinearSchedule
from bmae_lightning.report.tracking.loggers import NoTracking
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.stage import Context
from bmae_lightning.stage.training import TrainingStage


@dataclass(kw_only=True)
class Trains(TrainingStage):
    def run(self, context: Context) -> None:
        """Only its options are looked at here."""


def options(**changed):
    trainer = partial(pl.Trainer, accelerator="cpu", devices=1, accumulate_grad_batches=2)
    given = {
        "optim": AdamW([0.9, 0.999]), "schedule": LinearSchedule(), "trainer": trainer, "logger": NoTracking(),
        "seed": 1, "batch_size": 4, "steps": 3, "lr": 1e-3, "warmup": 0.5, "weight_decay": 0.1,
        "checkpoint": {"every_steps": 2, "every_minutes": 1},
    }  # fmt: skip
    return given | changed


def test_steps_and_epochs_stand_in_for_each_other():
    assert Trains(**options()).steps_over(100) == 3
    assert Trains(**options(steps=None, epochs=0.5)).steps_over(100) == 13  # 50 items in batches of 4


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"epochs": 1.0}, "give either steps or epochs, got steps=3 and epochs=1.0"),
        ({"steps": None}, "give either steps or epochs, got steps=None and epochs=None"),
        ({"steps": 0}, "make no step"),
        ({"batch_size": 0}, "batch_size must be at least 1, got 0"),
        ({"log_every": 0}, "log_every must be at least 1, got 0"),
        ({"lr": -1.0}, "lr must be at least 0, got -1.0"),
        ({"warmup": -0.1}, "warmup must be at least 0, got -0.1"),
        ({"workers": -1}, "workers must be at least 0, got -1"),
        ({"checkpoint": {"every_steps": 2}}, "checkpoint must have every_steps and every_minutes"),
        ({"checkpoint": 10}, "checkpoint must have every_steps and every_minutes, got 10"),
        ({"checkpoint": {"every_steps": 0, "every_minutes": 1}}, "checkpoint.every_steps must be at least 1, got 0"),
    ],
)
def test_refused_options(changed, words):
    with pytest.raises(BadInput, match="stage: ") as caught:
        build({"_target_": f"{__name__}.Trains"} | options(**changed), "stage")
    assert words in str(caught.value)


def test_a_batch_that_cannot_be_shared_out_is_refused_before_anything_runs():
    stage = Trains(**options(batch_size=3))
    stage.name = "reranker"
    with pytest.raises(BadInput, match=r"reranker\.batch_size=3 must be a multiple of .* = 2"):
        stage.preflight([])


def test_the_optimiser_gets_the_options_of_the_stage():
    stage = Trains(**options())
    made = stage.optimisation(steps=10).make(torch.nn.Linear(2, 2))
    optimiser, schedule = made["optimizer"], made["lr_scheduler"]["scheduler"]
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.1, 0.0]
    assert [schedule.lr_lambdas[0](step) * 1e-3 for step in (0, 5, 10)] == [0, 1e-3, 0]
    assert made["lr_scheduler"]["interval"] == "step"


def test_results_are_the_last_line_of_the_metrics(tmp_path):
    lines = [{"step": 1, "loss": 2.0}, {"step": 3, "loss": 1.5}]
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    context = Context("trains", "", tmp_path, {}, "", Path())
    Trains(**options()).write_results(context, kept_step=2)
    assert json.loads((tmp_path / "metrics.json").read_text()) == {"step": 3, "loss": 1.5, "kept_step": 2}
