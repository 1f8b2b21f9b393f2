"""Validation changes no training, stops it when patience runs out, and a killed run continues as if it were not."""

import copy
import functools
import os

import numpy as np
import pytest
import pytorch_lightning as pl
import torch
from safetensors.torch import load_model
from support.encoders import small_encoder
from support.regression import Breaks

from bmae_lightning.encoder.batch import RetrievalBatch
from bmae_lightning.lit.data import TrainingData
from bmae_lightning.lit.fit import fit
from bmae_lightning.lit.metrics_file import read_metrics
from bmae_lightning.lit.optimisation import AdamW, LinearSchedule, Optimisation
from bmae_lightning.lit.retriever import RetrieverModule
from bmae_lightning.lit.validation import Looks
from bmae_lightning.retrieval.dual_encoder import DualEncoder
from bmae_lightning.retrieval.loss.contrastive import Contrastive
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.runtime.errors import BadInput

STEPS = 12


class Scripted:
    """A measure that takes given values one after the other by step, and remembers how it was called."""

    def __init__(self, values):
        self.values, self.modes, self.weights = values, [], {}

    def __call__(self, model, device):
        step = len(self.modes) + 1
        self.modes.append(any(module.training for module in model.modules()))
        torch.rand(step)  # what a careless measure would do to the random state
        return self.values[self.steps[step - 1]]


def train(directory, values=None, every=2, patience=None, keep_best=False, more=(), start=0, dropout=0.2, **trainer):
    """Values by step; `start`: the step that the run continues from."""
    encoder = small_encoder(dropout=dropout, seed=3)
    model, vocabulary = DualEncoder(encoder, PooledRepresentation("cls"), "cos"), encoder.vocabulary
    optimisation = Optimisation(AdamW([0.9, 0.999]), LinearSchedule(), 1e-2, 0.0, 0.1, STEPS)
    module = RetrieverModule(model, {"contrastive": Contrastive()}, 1, 0.5, optimisation)

    def collate(items):
        rows = [np.random.default_rng(row).integers(5, 45, 6) for row, _ in items]
        return RetrievalBatch(vocabulary.pad(rows, 8), vocabulary.pad(rows, 5))

    data = TrainingData(collate, 40, 8, STEPS, 1, 0)
    looks = None
    if values is not None:
        measure = Scripted(values)
        measure.steps = [step for step in range(start + 1, STEPS + 1) if step % every == 0 or step == STEPS]
        looks = Looks(measure, "RR@10", every, STEPS, patience, keep_best, directory / "checkpoints")
    options = functools.partial(pl.Trainer, **({"accelerator": "cpu", "devices": 1} | trainer))
    checkpoint = {"every_steps": 4, "every_minutes": 60}
    directory.mkdir(exist_ok=True)
    callbacks = [*([looks] if looks else []), *more]
    fit(options, module, data, [], directory, "test", 1, checkpoint, "queries", callbacks)
    lines = read_metrics(directory / "metrics.jsonl")
    for line in lines:
        del line["queries_per_second"]
    return lines, looks, model


def values_of(lines):
    return {line["step"]: line["validation/RR@10"] for line in lines if "validation/RR@10" in line}


def kept(directory, step, model):
    """The weights of the best look."""
    best = copy.deepcopy(model)
    load_model(best, directory / "checkpoints" / f"best-{step:08d}.safetensors")
    return best


def same(left, right):
    return all(torch.equal(a, b) for a, b in zip(left.parameters(), right.parameters(), strict=True))


RISING = {2: 0.1, 4: 0.2, 5: 0.25, 6: 0.3, 8: 0.35, 10: 0.4, 12: 0.5}
PEAK = {2: 0.1, 4: 0.4, 6: 0.3, 8: 0.4, 10: 0.2, 12: 0.9}
"""Best at step 4; equal is not better; step 12 is not reached with a patience of 3."""


def test_training_does_not_notice(tmp_path):
    plain, _, _ = train(tmp_path / "plain")
    looked, looks, _ = train(tmp_path / "looked", RISING, every=5)
    assert values_of(looked) == {5: 0.25, 10: 0.4, 12: 0.5}
    assert [{k: v for k, v in line.items() if not k.startswith("validation/")} for line in looked] == plain
    assert looks.look.modes == [False] * 3, "dropout is off during a look"


def test_once_per_step_where_batches_are_accumulated(tmp_path):
    lines, looks, _ = train(tmp_path, RISING, every=5, accumulate_grad_batches=2)
    assert values_of(lines) == {5: 0.25, 10: 0.4, 12: 0.5}
    assert len(looks.look.modes) == 3


def test_it_stops_when_patience_runs_out_and_keeps_the_best_weights(tmp_path, capsys):
    lines, looks, model = train(tmp_path / "stopped", PEAK, patience=3, keep_best=True)
    assert values_of(lines) == {2: 0.1, 4: 0.4, 6: 0.3, 8: 0.4, 10: 0.2}
    assert lines[-1]["step"] == 10
    best = kept(tmp_path / "stopped", 4, model)
    assert not same(model, best)
    looks.finish(model, "test")
    assert same(model, best)
    told = (
        "validation RR@10 0.400 at best, at step 4, whose weights are kept, stopped after 3 looks without a better one"
    )
    assert told in capsys.readouterr().out
    whole, looks, _ = train(tmp_path / "whole", PEAK, keep_best=True)
    assert whole[-1]["step"] == STEPS
    assert (looks.best, looks.best_step) == (0.9, 12)
    assert whole[:10] == lines


@pytest.mark.parametrize(
    ("values", "patience", "broken_at", "continued_from"),
    [
        (PEAK, 3, 3, 0),  # before the first checkpoint: all over again
        (PEAK, 3, 9, 8),  # its best is of an earlier step
        (RISING, None, 7, 4),  # step 6 was better, but is not known to the checkpoint
    ],
)
def test_a_killed_run_ends_the_same(values, patience, broken_at, continued_from, tmp_path):
    wanted, looks, whole = train(tmp_path / "whole", values, patience=patience, keep_best=True)
    with pytest.raises(BadInput, match="broken"):
        train(tmp_path / "killed", values, patience=patience, keep_best=True, more=[Breaks(broken_at)])
    found, again, model = train(tmp_path / "killed", values, patience=patience, keep_best=True, start=continued_from)
    assert found == wanted
    assert again.state_dict() == looks.state_dict()
    for looked, trained in ((looks, whole), (again, model)):
        looked.finish(trained, "test")
    assert same(whole, model)


@pytest.mark.parametrize(("patience", "last"), [(2, 8), (3, 10)])  # a checkpoint is due at step 8 anyway
def test_a_run_killed_after_it_stopped_does_not_go_on(patience, last, tmp_path):
    lines, looks, model = train(tmp_path, PEAK, patience=patience, keep_best=True)
    assert lines[-1]["step"] == last
    again, continued, loaded = train(tmp_path, PEAK, patience=patience, keep_best=True)
    assert again == lines
    assert continued.look.modes == []
    assert same(model, loaded)
    assert continued.state_dict() == looks.state_dict()


def test_weights_that_no_checkpoint_leads_back_to_are_removed(tmp_path):
    train(tmp_path, RISING, keep_best=True)  # when step 12 was looked at, there were checkpoints of steps 4 and 8
    found = sorted(path.name for path in (tmp_path / "checkpoints").glob("best-*"))
    assert found == [f"best-{step:08d}.safetensors" for step in (4, 6, 8, 10, 12)]


def test_two_processes_stop_together_at_what_the_first_one_sees(tmp_path, monkeypatch):
    one, _, _ = train(tmp_path / "one", PEAK, patience=3, dropout=0.0)
    call = Scripted.__call__

    def rises_elsewhere(self, model, device):
        value = call(self, model, device)
        return value if torch.distributed.get_rank() == 0 else 1.0 + len(self.modes)

    monkeypatch.setattr(Scripted, "__call__", rises_elsewhere)
    monkeypatch.setattr(os, "getppid", lambda: 1)  # forked processes would take themselves for orphans
    two, _, _ = train(tmp_path / "two", PEAK, patience=3, dropout=0.0, devices=2, strategy="ddp_fork")
    assert values_of(two) == values_of(one) == {2: 0.1, 4: 0.4, 6: 0.3, 8: 0.4, 10: 0.2}
    assert [line["loss"] for line in two] == pytest.approx([line["loss"] for line in one], abs=1e-3)
