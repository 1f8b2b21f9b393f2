"""Where kept encoders lie, and what is said of a step that is not kept."""

import pytest

from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.snapshots import check_kept, check_step, in_steps, kept_steps, snapshot


def test_where_an_encoder_lies(tmp_path):
    assert snapshot(tmp_path, None) == tmp_path / "encoder"
    assert snapshot(tmp_path, 20) == tmp_path / "step-20" / "encoder"


@pytest.mark.parametrize("step", [None, 0, 7, 0.125])
def test_a_step_is_a_number_or_the_end(step):
    assert check_step(step) == step


@pytest.mark.parametrize("step", [-1, 1.5, "10", True])
def test_anything_else_is_no_step(step):
    with pytest.raises(BadInput, match=f"pretrain_step={step} must be a number of steps, 0 for no pre-training"):
        check_step(step)


def test_nothing_is_kept_unless_asked(tmp_path):
    with pytest.raises(BadInput, match=r"only the last encoder is kept: set pretrain\.keep_every=10"):
        check_kept(10, {"keep_every": None, "steps": 20}, tmp_path, done=False)


def test_before_the_run_the_options_tell(tmp_path):
    options = {"keep_every": 5, "steps": 17}
    for step in (5, 10, 15):
        check_kept(step, options, tmp_path, done=False)
    for step in (4, 20, 0):
        with pytest.raises(BadInput, match=rf"pretrain_step={step} is not kept: .*=5 keeps 5, 10, 15; choose one of"):
            check_kept(step, options, tmp_path, done=False)


def test_how_many_steps_epochs_make_shows_later(tmp_path):
    options = {"keep_every": 5, "steps": None}
    check_kept(1000, options, tmp_path, done=False)
    with pytest.raises(BadInput, match=r"keeps 5, 10, .*, 60, \.\.\.; choose one of them"):
        check_kept(1001, options, tmp_path, done=False)


def test_after_the_run_the_files_tell(tmp_path):
    for step in (10, 5):
        snapshot(tmp_path, step).mkdir(parents=True)
    (tmp_path / ".step-15.1.tmp").mkdir()
    options = {"keep_every": 5, "steps": 20}
    check_kept(10, options, tmp_path, done=True)
    with pytest.raises(BadInput, match=r"pretrain_step=15 is not kept: .* keeps 5, 10; choose"):
        check_kept(15, options, tmp_path, done=True)


def test_shares_of_the_steps_are_steps():
    assert kept_steps(3, 10) == [3, 6, 9]
    assert kept_steps(0.125, 80_000) == list(range(10_000, 80_000, 10_000))
    assert kept_steps(0.1, 15) == [in_steps(number / 10, 15) for number in range(1, 10)]
    assert 10_000 in kept_steps(0.0833333, 120_000)
    assert kept_steps(0.125, 2) == [1, 2]
    assert in_steps(0.125, 2) == 1
    assert in_steps(7, 2) == 7


def test_a_share_is_checked_in_steps_where_they_are_known(tmp_path):
    options = {"keep_every": 0.25, "steps": 20}
    for step in (0.25, 0.5, 15):
        check_kept(step, options, tmp_path, done=False)
    with pytest.raises(BadInput, match=r"pretrain_step=0.3 is not kept: .*=0.25 keeps 5, 10, 15; choose one of"):
        check_kept(0.3, options, tmp_path, done=False)
    epochs = {"keep_every": 0.25, "steps": None}
    check_kept(0.75, epochs, tmp_path, done=False)
    with pytest.raises(BadInput, match=r"pretrain_step=0.3 is not kept"):
        check_kept(0.3, epochs, tmp_path, done=False)


def test_after_the_run_a_share_is_of_the_steps_that_were_taken(tmp_path):
    snapshot(tmp_path, 5).mkdir(parents=True)
    (tmp_path / "metrics.json").write_text('{"step": 21}')
    assert snapshot(tmp_path, 0.25) == snapshot(tmp_path, 5)
    options = {"keep_every": 0.25, "steps": None}
    check_kept(0.25, options, tmp_path, done=True)
    with pytest.raises(BadInput, match=r"pretrain_step=0.5 is not kept: .* keeps 5; choose"):
        check_kept(0.5, options, tmp_path, done=True)
