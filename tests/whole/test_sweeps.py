"""Sweeps in which something fails: every job is a row of the ledger, the others go on, and the command continues."""

import json
import os
import subprocess
import sys

import pytest
import yaml
from support.command import TINY, start
from support.paths import CONF

from bmae_lightning.runtime.errors import EXIT_BAD_INPUT, EXIT_RESUME, BadInput, Interrupted
from bmae_lightning.runtime.ledger import Ledger

SEEDS = ["-m", "seed=1,2,3"]


class Jobs:
    """Stands where experiments run: what a seed `does` is raised, else the job is done."""

    def __init__(self, output_dir, does):
        self.output_dir, self.does, self.seen = output_dir, does, []

    def run(self, cfg, hydra_cfg):
        self.seen.append(cfg.seed)
        if cfg.seed in self.does:
            raise self.does[cfg.seed]
        return 0.5

    def ledgers(self):
        return [Ledger(path.parent).jobs() for path in sorted(self.output_dir.glob("multirun/*/ledger.jsonl"))]

    def states(self):
        return [[job["state"] for job in jobs.values()] for jobs in self.ledgers()]


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    """Makes what runs and what is checked instead of experiments, of a configuration with one group."""
    own = yaml.safe_load((CONF / "config.yaml").read_text())
    small = {key: value for key, value in own.items() if not isinstance(value, dict)}
    small |= {"logger": own["logger"], "hydra": own["hydra"]}
    quiet = [entry for entry in own["defaults"] if any("hydra/" in key for key in entry)]
    small["defaults"] = ["_self_", {"part": "one"}, *quiet]
    (tmp_path / "conf" / "part").mkdir(parents=True)
    (tmp_path / "conf" / "part" / "one.yaml").write_text("rate: 0.3\n")
    (tmp_path / "conf" / "config.yaml").write_text(yaml.safe_dump(small))
    monkeypatch.setattr("bmae_lightning.__main__.config_directory", lambda: tmp_path / "conf")

    def made(does=None, refused=()):
        jobs = Jobs(tmp_path / "outputs", does or {})

        def check(cfg, *_):
            if cfg.seed in refused:
                raise BadInput(f"seed {cfg.seed} is refused")
            return f"fingerprint {cfg.seed}"

        monkeypatch.setattr("bmae_lightning.command.experiment.run_experiment", jobs.run)
        monkeypatch.setattr("bmae_lightning.command.experiment.check_experiment", check)
        return jobs

    return made


def test_any_exception_of_a_job_is_its_row_and_the_others_go_on(jobs, here, tmp_path):
    made = jobs({1: RuntimeError("out of\nmemory")}, refused=[3])
    output = here(*SEEDS, code=EXIT_BAD_INPUT)
    assert made.seen == [1, 2], "the third is refused before the first one runs, and not run"
    (ledger,) = made.ledgers()
    assert [job["state"] for job in ledger.values()] == ["failed", "done", "failed"]
    assert [job["code"] for job in ledger.values()] == [1, 0, 2]
    assert [job["reason"] for job in ledger.values()] == ["RuntimeError: out of memory", None, "seed 3 is refused"]
    assert ledger[1]["overrides"][0] == "seed=2"
    assert ledger[1]["fingerprint"] == "fingerprint 2"
    (error,) = tmp_path.glob("outputs/multirun/*/0/error.txt")
    assert error.read_text().rstrip().endswith("RuntimeError: out of\nmemory")
    assert output.count("error: seed 3 is refused\n") == 1
    assert "Traceback" in output
    assert "Error executing job" not in output
    assert output.count("3 jobs: 1 done, 2 failed\n") == 1
    assert "0    failed seed=1" in output
    (page,) = tmp_path.glob("outputs/multirun/*/report.html")
    assert (page.parent / "tables" / "jobs.csv").read_text().count("\n") == 4


def test_a_failed_batch_does_not_keep_the_next_one_from_running(jobs, here):
    made = jobs({1: RuntimeError()})
    here(*SEEDS, "hydra.sweeper.max_batch_size=1", code=1)
    assert made.seen == [1, 2, 3]


def test_after_the_first_failure_nothing_starts_where_that_is_asked_for(jobs, here):
    made = jobs({2: BadInput("no")})
    output = here(*SEEDS, "fail_fast=true", code=EXIT_BAD_INPUT)
    assert made.seen == [1, 2]
    assert made.states() == [["done", "failed", "not started"]]
    assert "3 jobs: 1 done, 1 failed, 1 not started\n" in output


def test_the_same_command_goes_on_in_the_same_directory(jobs, here):
    made = jobs({2: Interrupted("saved")})
    with pytest.raises(SystemExit) as ended:
        here(*SEEDS)
    assert ended.value.code == EXIT_RESUME
    assert made.states() == [["done", "interrupted", "not started"]]
    made = jobs()
    output = here(*SEEDS)
    assert "is continued\n" in output
    assert output.endswith("3 jobs: 3 done\n")
    assert "seed=1" not in output
    assert made.seen == [1, 2, 3], "what is done is skipped by the store, which also sees what has changed"
    assert made.states() == [["done"] * 3]
    here("-m", "seed=1")
    assert [len(states) for states in made.states()] == [3, 1], "another sweep has a directory of its own"


def test_two_sweeps_of_one_command_at_a_time_have_two_directories(jobs, here, tmp_path, capfd):
    made = jobs()
    here(*SEEDS)
    (path,) = tmp_path.glob("outputs/multirun/*")
    holder = "import sys, filelock as f; lock = f.FileLock(sys.argv[1]); lock.acquire(); print(flush=True); input()"
    with subprocess.Popen(
        [sys.executable, "-c", holder, path / "sweep.lock"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        other.stdout.readline()
        here(*SEEDS)
        assert made.states() == [["done"] * 3] * 2
        with pytest.raises(SystemExit, match=str(EXIT_BAD_INPUT)):
            here(*SEEDS, f"hydra.sweep.dir={path}")
        told = f"error: hydra.sweep.dir={path}: another sweep works there; name another directory, or none\n"
        assert capfd.readouterr().err == told
        other.communicate(b"\n")


def test_a_job_whose_process_was_killed_is_told_as_failed(jobs, here, tmp_path):
    jobs()
    here(*SEEDS)
    (path,) = tmp_path.glob("outputs/multirun/*")
    with subprocess.Popen([sys.executable, "-c", ""]) as gone:
        pass
    ledger = Ledger(path)
    ledger.add(1, "running", pid=gone.pid, code=None)
    ledger.add(2, "running", pid=os.getppid(), code=None)
    ledger.settle()
    assert [job["state"] for job in ledger.jobs().values()] == ["done", "failed", "running"]
    assert ledger.jobs()[1]["reason"] == "its process ended without a word (killed?)"


def test_a_job_that_cannot_be_composed_refuses_the_sweep_by_name(jobs, here, capfd):
    made = jobs()
    with pytest.raises(SystemExit, match=str(EXIT_BAD_INPUT)):
        here("-m", "part=one,tow")
    output = capfd.readouterr().err
    assert output.startswith("error: job 1 (part=tow): part=tow: there is no such option")
    assert output.count("\n") == 1
    assert made.seen == []


def test_a_process_above_the_first_writes_nothing(jobs, here, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    made = jobs({2: BadInput("no")})
    here(*SEEDS, "fail_fast=true")  # the first process has the exit code
    assert made.seen == [1, 2]
    assert not list(tmp_path.rglob("ledger.jsonl"))
    assert not list(tmp_path.rglob("report.html"))


def test_jobs_are_checked_as_they_will_be_when_they_start(cli_here, tmp_path):
    output = cli_here("-m", "decoders.enhanced.mask.rate=7,8", "logger=none", code=EXIT_BAD_INPUT)
    assert all(f"error: decoders.enhanced.mask: mask rate must lie in (0, 1), got {n}\n" in output for n in (7, 8))
    assert not (tmp_path / "outputs" / "store").exists()
    assert "2 jobs: 2 failed\n" in output
    (page,) = tmp_path.glob("outputs/multirun/*/report.json")
    assert [row[1] for row in json.loads(page.read_text())["jobs"]["rows"]] == ["failed", "failed"]


BROKEN = """from bmae_lightning.pretraining.mask.policy import MaskPolicy


class Broken(MaskPolicy):
    def __init__(self, rate: float):
        self.rate = rate

    def select(self, request):
        raise RuntimeError("a bug in a plug-in")
"""
SIX = [
    "-cd", "my", "-m", "decoders.enhanced.mask.rate=0.3,0.5,7", "mask@decoders.enhanced.mask=uniform,broken",
    "baseline=false", "logger=none",
]  # fmt: skip


def finished(directory):
    """Stage that is done -> when it was."""
    return {done.parent.name: done.stat().st_mtime_ns for done in directory.glob("outputs/store/*/done")}


@pytest.mark.slow
def test_six_jobs_two_mistakes_and_a_kill_are_continued_and_nothing_is_computed_twice(cli, collection, tmp_path):
    (tmp_path / "my" / "mask").mkdir(parents=True)
    (tmp_path / "my" / "mask" / "broken.yaml").write_text("_target_: broken.Broken\nrate: 0.3\n")
    (tmp_path / "broken.py").write_text(BROKEN)
    sweep = start(*TINY, f"corpus.path={collection}", *SIX, cwd=tmp_path)
    trained = (line for line in sweep.stdout if line.startswith("[2/6] pretrain") and "started" in line)
    assert len([next(trained) for _ in range(3)]) == 3, "one is done, one has failed, one is at work"
    sweep.kill()
    sweep.communicate()
    before = finished(tmp_path)
    assert len(before) == 6
    (path,) = tmp_path.glob("outputs/multirun/*")
    states = [job["state"] for job in Ledger(path).jobs().values()]
    assert states == ["done", "failed", "running", "not started", "failed", "not started"]

    output = cli(*SIX, code=EXIT_BAD_INPUT)
    assert output.count("the sweep in") == 1
    assert output.endswith("6 jobs: 2 done, 4 failed\n")
    jobs = Ledger(path).jobs()
    assert [job["code"] for job in jobs.values()] == [0, 1, 0, 1, 2, 1]
    assert "ended without a word" in (path / "ledger.jsonl").read_text()
    after = finished(tmp_path)
    assert len(after) == 10
    assert {stage: after[stage] for stage in before} == before
    for log in tmp_path.glob("outputs/store/*/metrics.jsonl"):
        steps = [json.loads(line)["step"] for line in log.read_text().splitlines()]
        assert steps == sorted(set(steps)), log
    table = (path / "tables" / "measures.csv").read_text()
    assert table.count("failed") == 4
    assert table.count("\n") == 1 + 1 + 6, "the head, BM25, and a row for each job"
