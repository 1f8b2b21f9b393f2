"""Which snapshots of a pre-training there are, told from its options before it runs and from its files afterwards."""

import pytest

from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.snapshots import check_kept, check_step, snapshot


def test_where_a_snapshot_lies(tmp_path):
    assert snapshot(tmp_path, None) == tmp_path / "encoder"
    assert snapshot(tmp_path, 20) == tmp_path / "step-20" / "encoder"


@pytest.mark.parametrize("step", [None, 0, 7])
def test_a_number_of_steps_is_passed_through(step):
    assert check_step(step) == step


@pytest.mark.parametrize("step", [-1, True, "7", 1.0])
def test_anything_else_is_refused(step):
    with pytest.raises(BadInput, match="pretrain_step=.* must be a number of steps"):
        check_step(step)


def test_before_the_run_the_options_tell(tmp_path):
    options = {"keep_every": 2, "steps": 6}
    for step in (2, 4, 6):
        check_kept(step, options, tmp_path, done=False)
    with pytest.raises(BadInput, match="pretrain_step=3 is not kept: pretrain.keep_every=2 keeps 2, 4, 6; choose one"):
        check_kept(3, options, tmp_path, done=False)
    with pytest.raises(BadInput, match="set pretrain.keep_every=4"):
        check_kept(4, {"keep_every": None, "steps": 6}, tmp_path, done=False)


def test_where_epochs_give_the_steps_any_multiple_may_come(tmp_path):
    check_kept(200, {"keep_every": 2, "steps": None}, tmp_path, done=False)
    with pytest.raises(BadInput, match=r"keeps 2, 4, .*, 24, \.\.\.; choose one"):
        check_kept(3, {"keep_every": 2, "steps": None}, tmp_path, done=False)


def test_after_the_run_the_files_tell(tmp_path):
    options = {"keep_every": 2, "steps": 6}
    for step in (2, 10):
        snapshot(tmp_path, step).mkdir(parents=True)
    (tmp_path / ".step-4.17.tmp" / "encoder").mkdir(parents=True)
    check_kept(10, options, tmp_path, done=True)
    with pytest.raises(BadInput, match="pretrain_step=4 is not kept: .* keeps 2, 10; choose one"):
        check_kept(4, options, tmp_path, done=True)
