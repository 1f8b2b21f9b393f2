"""The step of every method equals the plain way of computing it, in losses and gradient; no time is asserted."""

import copy
from types import ModuleType

import pytest
import torch
from support.paths import ROOT

METHODS = ["retromae", "dupmae", "simlm", "master", "cdmae"]


@pytest.fixture
def step(monkeypatch) -> ModuleType:
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import step

    monkeypatch.setattr(step, "PIECES", 300)
    return step


@pytest.mark.parametrize("method", METHODS)
def test_the_plain_way_has_the_same_losses_and_gradients(step, method):
    words = step.WORDS[:300]
    model = step.model_of(method, 2, 32, dropout=0.0, pieces=words).double()
    other = copy.deepcopy(model)
    batch = step.batch_of(5, 30, False, 0)
    ours, theirs = step.our_loss(model, batch), step.PlainStep(other, words, loops=False).loss(batch)
    torch.testing.assert_close(ours, theirs)
    ours.backward()
    theirs.backward()
    for (name, parameter), (_, plain) in zip(model.named_parameters(), other.named_parameters(), strict=True):
        if plain.grad is not None:
            torch.testing.assert_close(parameter.grad, plain.grad, msg=name)
    looped = step.PlainStep(copy.deepcopy(other), words).loss(batch)
    assert 0.8 < looped.item() / ours.item() < 1.25


def test_a_measurement(step):
    found = step.measure("simlm", 2, 32, batch=4, rounds=1, full=False)
    assert all(figure > 0 for name in ("cpu", "wall", "seconds", "share") for figure in found[name])
