"""A run is trained once whatever interrupts it, and trainers that cannot be made are one line."""

import os
import signal
from functools import partial

import pytest
import pytorch_lightning as pl
import torch
from support.regression import BATCH, STEPS, At, Regression, lines, rows, train

from bmae_lightning.lit.data import item_order
from bmae_lightning.lit.fit import check_trainer, make_trainer
from bmae_lightning.runtime.errors import BadInput, Interrupted


class Killed(BaseException):
    """Stands for a process that ends without a word."""


def kill():
    raise Killed


def terminate():
    os.kill(os.getpid(), signal.SIGTERM)


def equal(first, second):
    return all(torch.equal(first.state_dict()[name], value) for name, value in second.state_dict().items())


def test_training_is_the_plain_loop_of_torch(tmp_path):
    module = train(tmp_path, Regression(dropout=0.0))
    wanted = Regression(dropout=0.0)
    optimiser = torch.optim.AdamW(
        [{"params": [wanted.model[1].weight], "weight_decay": 0.01}, {"params": [wanted.model[1].bias]}],
        lr=0.0, weight_decay=0.0,
    )  # fmt: skip
    order = [(int(row), epoch) for epoch in range(3) for row in item_order(10, 1, epoch)]
    factors = [0, 1, 0.8, 0.6, 0.4, 0.2]  # one step of warm-up, then linearly to 0 at step 6
    for step in range(STEPS):
        for group in optimiser.param_groups:
            group["lr"] = 0.1 * factors[step]
        loss = wanted.training_step(rows(order[BATCH * step : BATCH * (step + 1)]), step)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        assert lines(tmp_path)[step]["loss"] == pytest.approx(loss.item(), abs=1e-6)
    torch.testing.assert_close(module.model[1].weight, wanted.model[1].weight)


@pytest.mark.parametrize("step", [1, 3, 4, 6])
def test_a_killed_run_ends_as_an_uninterrupted_one(tmp_path, step):
    whole = train(tmp_path / "whole")
    with pytest.raises(Killed):
        train(tmp_path / "cut", callbacks=[At(step, kill)])
    assert equal(train(tmp_path / "cut"), whole)
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")


def test_sigterm_saves_at_once_and_the_next_run_continues(tmp_path, capsys):
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(Interrupted, match="saved at step 3; run the same command again to continue"):
        train(tmp_path / "cut", callbacks=[At(3, terminate)], every_steps=100)
    assert signal.getsignal(signal.SIGTERM) is before
    assert [path.name for path in (tmp_path / "cut" / "checkpoints").iterdir()] == ["step-00000003.ckpt"]
    module = train(tmp_path / "cut", every_steps=100)
    assert "continuing from" in capsys.readouterr().out
    assert equal(module, train(tmp_path / "whole", every_steps=100))
    assert lines(tmp_path / "cut") == lines(tmp_path / "whole")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"accelerator": "cpu", "devices": -3}, "trainer: "),
        ({"accelerator": "abacus"}, "trainer: "),
        ({"accelerator": "cpu", "colour": "red"}, "trainer: .*colour"),
    ],
)
def test_a_trainer_that_cannot_be_made(options, words):
    with pytest.raises(BadInput, match=words) as caught:
        make_trainer(partial(pl.Trainer, **options), "stage")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there():
    with pytest.raises(BadInput, match=r"trainer\.accelerator=gpu: there is no CUDA GPU here; use trainer=cpu"):
        check_trainer(partial(pl.Trainer, accelerator="gpu"), 4, "pretrain")


def test_a_batch_must_be_shared_out():
    trainer = partial(pl.Trainer, accelerator="cpu", devices=1, accumulate_grad_batches=3)
    check_trainer(trainer, 6, "pretrain")
    with pytest.raises(BadInput, match=r"pretrain\.batch_size=4 must be a multiple of .* = 3"):
        check_trainer(trainer, 4, "pretrain")


def test_a_stage_decides_above_the_configuration():
    trainer = make_trainer(partial(pl.Trainer, accelerator="cpu", devices=1, max_steps=7), "stage", max_steps=3)
    assert trainer.max_steps == 3
    assert trainer.loggers == []


@pytest.mark.parametrize(("tasks", "environment"), [(1, "LightningEnvironment"), (2, "SLURMEnvironment")])
def test_a_slurm_job_of_one_task_starts_the_processes_of_its_devices(monkeypatch, tasks, environment):
    told = {"JOB_NAME": "train", "NTASKS": tasks, "NTASKS_PER_NODE": tasks, "PROCID": 0, "LOCALID": 0, "NODEID": 0}
    for name, value in told.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    trainer = make_trainer(partial(pl.Trainer, accelerator="cpu", devices=2, strategy="ddp"), "pretrain")
    assert type(trainer.strategy.cluster_environment).__name__ == environment
    assert trainer.world_size == 2


def test_tasks_that_lightning_cannot_count_are_one_line(monkeypatch):
    for name, value in {"JOB_NAME": "train", "NTASKS": "2"}.items():
        monkeypatch.setenv(f"SLURM_{name}", value)
    monkeypatch.delenv("SLURM_NTASKS_PER_NODE", raising=False)
    with pytest.raises(BadInput, match="trainer: .*--ntasks-per-node=2"):
        make_trainer(partial(pl.Trainer, accelerator="cpu", devices=2, strategy="ddp"), "pretrain")
