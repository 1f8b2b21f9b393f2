"""Switches of the trainer: what is learned stays, 16-bit parameters train, what would learn nothing is refused."""

import inspect

import pytest
import pytorch_lightning as pl
import torch
from support.command import TINY, metrics

from bmae_lightning.lit.engine import Trainer


def losses(here, tmp_path, collection, name, *options):
    here(*TINY, f"corpus.path={collection}", "logger=none", "stage=[pretrain]", f"output_dir={name}", *options)
    return [line["loss"] for line in metrics(tmp_path / name, "pretrain")]


def test_layers_computed_twice_learn_the_same_and_half_precision_nearly(here, tmp_path, collection):
    plain = losses(here, tmp_path, collection, "plain")
    assert losses(here, tmp_path, collection, "twice", "trainer.gradient_checkpointing=true") == plain
    half = losses(here, tmp_path, collection, "half", "trainer.precision=bf16-true")
    assert half != plain
    assert half == pytest.approx(plain, rel=0.05)


@pytest.mark.slow
def test_compiled_layers_learn_the_same(here, tmp_path, collection):
    plain = losses(here, tmp_path, collection, "plain", "encoder.dropout=0")
    torch._dynamo.utils.counters.clear()
    compiled = losses(here, tmp_path, collection, "compiled", "encoder.dropout=0", "trainer.compile=true")
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0
    assert compiled == pytest.approx(plain, rel=1e-4)


def test_parameters_of_fp16_are_refused_before_any_work(here, collection):
    said = here(*TINY, f"corpus.path={collection}", "trainer.precision=16-true", code=2)
    assert (
        "trainer: precision=16-true loses small updates, so that nothing is learned; use bf16-true or 16-mixed" in said
    )
    assert "Traceback" not in said


def test_the_options_are_lightnings_and_two_more():
    known, lightnings = (set(inspect.signature(kind).parameters) for kind in (Trainer, pl.Trainer))
    assert known - lightnings == {"compile", "gradient_checkpointing"}
    assert lightnings < known
