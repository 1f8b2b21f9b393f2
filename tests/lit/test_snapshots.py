"""When the encoder is kept: every so many steps, whole or not at all."""

from types import SimpleNamespace

import pytest

from bmae_lightning.lit.snapshots import Snapshots
from bmae_lightning.runtime.files import remove_leftovers
from bmae_lightning.runtime.snapshots import snapshot


def trainer(step, accumulates=False, first=True):
    loop = SimpleNamespace(_should_accumulate=lambda: accumulates)
    return SimpleNamespace(global_step=step, is_global_zero=first, fit_loop=loop)


@pytest.fixture
def kept(tmp_path):
    written = []

    def save(directory):
        directory.mkdir(parents=True)
        (directory / "model").write_text(str(len(written)))
        written.append(directory)

    return Snapshots(tmp_path, 3, save), written


def steps(tmp_path):
    return sorted(int(path.name.removeprefix("step-")) for path in tmp_path.iterdir())


def test_every_third_step_of_the_first_process(kept, tmp_path):
    snapshots, written = kept
    second = Snapshots(tmp_path, 3, snapshots.save)
    for step in range(1, 8):
        snapshots.on_train_batch_end(trainer(step, accumulates=True), None, None, None, 0)
        second.on_train_batch_end(trainer(step, first=False), None, None, None, 0)
        assert len(written) == (step - 1) // 3
        snapshots.on_train_batch_end(trainer(step), None, None, None, 0)
    assert steps(tmp_path) == [3, 6]
    snapshots.keep(3)
    assert len(written) == 2
    assert (snapshot(tmp_path, 3) / "model").is_file()


def interrupted(directory):
    directory.mkdir(parents=True)
    (directory / "rubbish").touch()
    raise KeyboardInterrupt


def test_half_a_snapshot_is_none(kept, tmp_path):
    snapshots, _ = kept
    with pytest.raises(KeyboardInterrupt):
        Snapshots(tmp_path, 3, interrupted).keep(3)
    assert not list(tmp_path.iterdir())
    half = tmp_path / ".step-3.1.tmp" / "encoder"  # of a killed process
    half.mkdir(parents=True)
    (half / "rubbish").touch()
    remove_leftovers(tmp_path)  # as every stage does when it starts
    snapshots.keep(3)
    assert [path.name for path in tmp_path.iterdir()] == ["step-3"]
    assert [path.name for path in snapshot(tmp_path, 3).iterdir()] == ["model"]
