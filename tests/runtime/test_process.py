"""Which process this is, and what several of them do one after another."""

import threading

import pytest
from filelock import FileLock

from bmae_lightning.runtime import process
from bmae_lightning.runtime.process import launched, locked, made_by_first, print_once, process_rank

NAMES = (
    "RANK", "LOCAL_RANK", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_JOB_NAME", "SLURM_JOB_ID", "SLURM_STEP_ID",
    "SLURM_RESTART_COUNT", "TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "LOCAL_WORLD_SIZE", "WORLD_SIZE",
)  # fmt: skip


@pytest.fixture
def environment(monkeypatch):
    """environment(NAME=value, ...): these variables and no others that a launcher sets."""

    def make(**values):
        for name in NAMES:
            monkeypatch.delenv(name, raising=False)
        for name, value in values.items():
            monkeypatch.setenv(name, value)

    return make


@pytest.mark.parametrize(
    ("values", "rank", "started"),
    [
        ({}, 0, False),
        ({"RANK": "3", "LOCAL_RANK": "1", "TORCHELASTIC_RUN_ID": "x"}, 3, True),
        ({"LOCAL_RANK": "1"}, 1, False),
        ({"SLURM_PROCID": "2", "SLURM_NTASKS": "4", "SLURM_JOB_NAME": "train"}, 2, True),
        ({"SLURM_PROCID": "2", "SLURM_NTASKS": "4", "SLURM_JOB_NAME": "interactive"}, 0, False),
        ({"SLURM_PROCID": "2", "SLURM_NTASKS": "1", "SLURM_JOB_NAME": "train"}, 0, False),
    ],
)
def test_the_launcher_says_which_process_this_is(environment, values, rank, started):
    environment(**values)
    assert process_rank() == rank
    assert launched() == started


def test_processes_that_were_launched_together_know_each_other(environment, monkeypatch):
    torchrun = {"TORCHELASTIC_RUN_ID": "none", "MASTER_ADDR": "a", "MASTER_PORT": "29500", "WORLD_SIZE": "4"}
    slurm = {"SLURM_JOB_ID": "7", "SLURM_STEP_ID": "0", "SLURM_NTASKS": "2", "SLURM_JOB_NAME": "train"}

    def of(host="a", **values):
        monkeypatch.setattr(process.socket, "gethostname", lambda: host)
        environment(**values)
        return process.launch_id()

    assert of(**torchrun, RANK="0", LOCAL_WORLD_SIZE="2") == of("b", **torchrun, RANK="3", LOCAL_WORLD_SIZE="2")
    assert of(**slurm, SLURM_PROCID="0") == of(**slurm, SLURM_PROCID="1", MASTER_PORT="15007")
    others = [
        of(**torchrun, LOCAL_WORLD_SIZE="4"), of("b", **torchrun, LOCAL_WORLD_SIZE="4"),  # two machines, each alone
        of(**torchrun | {"MASTER_PORT": "29501"}, LOCAL_WORLD_SIZE="4"), of(**slurm),
        of(**slurm | {"SLURM_JOB_ID": "8"}), of(**slurm, SLURM_RESTART_COUNT="1"),
    ]  # fmt: skip
    assert len(set(others)) == len(others)


def test_only_the_first_process_prints(environment, capsys):
    environment()
    print_once("a")
    environment(RANK="1")
    print_once("b")
    assert capsys.readouterr().out == "a\n"


def test_the_first_process_makes_what_others_wait_for(environment, tmp_path, monkeypatch):
    environment()
    assert not made_by_first(tmp_path / "a")
    environment(RANK="1")
    monkeypatch.setattr(process.time, "sleep", lambda _: (tmp_path / "a").touch())
    assert made_by_first(tmp_path / "a")


def test_one_process_at_a_time_holds_a_lock(environment, tmp_path, monkeypatch):
    environment()
    told, events = threading.Event(), []
    monkeypatch.setattr(process, "print_once", lambda text: (events.append(text), told.set()))

    def work():
        with locked(tmp_path / "lock", "waiting"):
            events.append("held")

    with FileLock(tmp_path / "lock"):
        thread = threading.Thread(target=work)
        thread.start()
        assert told.wait(30)
        assert events == ["waiting"]
    thread.join(30)
    assert events == ["waiting", "held"]


def test_an_error_releases_the_lock(tmp_path):
    with pytest.raises(ZeroDivisionError), locked(tmp_path / "lock", "waiting"):
        1 / 0  # noqa: B018
    FileLock(tmp_path / "lock").acquire(timeout=0)
