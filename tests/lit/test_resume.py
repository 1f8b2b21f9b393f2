"""Which checkpoints are kept, which one a run continues from, and one of another architecture."""

import pytest
import torch
from support.regression import Regression, lines, train

from bmae_lightning.lit.resume import ResumeCheckpoints, check_architecture, newest_checkpoint, step_of
from bmae_lightning.runtime.errors import BadInput


def names(directory):
    return sorted(path.name for path in (directory / "checkpoints").iterdir())


def test_the_two_newest_are_kept_and_the_last_step_is_one_of_them(tmp_path):
    train(tmp_path, every_steps=2)
    assert names(tmp_path) == ["step-00000004.ckpt", "step-00000006.ckpt"]
    train(tmp_path / "rare", every_steps=4)
    assert names(tmp_path / "rare") == ["step-00000004.ckpt", "step-00000006.ckpt"]


def test_a_checkpoint_is_due_after_some_time_too(tmp_path, monkeypatch):
    monkeypatch.setattr("bmae_lightning.lit.resume.time.monotonic", iter(range(0, 10**6, 3601)).__next__)
    train(tmp_path, every_steps=100)
    assert names(tmp_path) == ["step-00000005.ckpt", "step-00000006.ckpt"]


def test_a_damaged_checkpoint_is_reported_and_the_one_before_it_taken(tmp_path, capsys):
    whole = train(tmp_path)
    newest = tmp_path / "checkpoints" / "step-00000006.ckpt"
    newest.write_bytes(newest.read_bytes()[:100])
    assert newest_checkpoint(tmp_path / "checkpoints", Regression()) == newest.with_name("step-00000004.ckpt")
    assert f"{newest}: skipped, it cannot be read" in capsys.readouterr().out
    again = train(tmp_path)
    assert all(torch.equal(again.state_dict()[name], value) for name, value in whole.state_dict().items())
    assert [line["step"] for line in lines(tmp_path)] == [1, 2, 3, 4, 5, 6]


def test_another_architecture_is_refused(tmp_path):
    train(tmp_path)
    with pytest.raises(BadInput, match=r"another architecture \(model\.1\.weight is \(1, 2\) there, \(1, 3\) in this"):
        newest_checkpoint(tmp_path / "checkpoints", Regression(width=3))
    with pytest.raises(BadInput, match=r"another architecture \(b is absent there, \(2,\) in this model\)"):
        check_architecture({"a": torch.ones(1)}, {"a": torch.ones(1), "b": torch.ones(2)}, tmp_path)


def test_the_step_is_in_the_name(tmp_path):
    assert step_of(None) == 0
    assert step_of(tmp_path / "step-00000012.ckpt") == step_of(tmp_path / "best-00000012.safetensors") == 12
    assert newest_checkpoint(tmp_path / "nothing", Regression()) is None


def test_an_impossible_interval(tmp_path):
    with pytest.raises(ValueError, match=r"checkpoint\.every_steps must be at least 1, got 0"):
        ResumeCheckpoints(tmp_path, 0, 15)
