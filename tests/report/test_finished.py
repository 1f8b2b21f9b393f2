"""Finished runs by directory and by fingerprint, and every way in which there is none."""

import json
import os
import shutil

import pytest

from bmae_lightning.report.content import Report, write_report
from bmae_lightning.report.finished import find_runs
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.ledger import DONE, FAILED, RUNNING, Ledger

FIRST, SECOND, THIRD = "abc123000001", "abc123999999", "0123456789ab"


class Outputs:
    """An output directory with what commands leave there."""

    def __init__(self, root):
        self.root = root

    def report(self, digest, overrides=(), **context):
        """A finished report stage."""
        directory = self.root / "store" / f"report-{digest}"
        write_report(directory / "report.json", Report(digest))
        job = {"overrides": list(overrides), "config": {"train_share": 0.5, "pretrain_step": None}}
        inputs = {"bm25": str(self.root / "store" / "bm25-1"), "evaluate@none": None}
        context = {"stage": "report", "inputs": inputs, "job": job} | context
        (directory / "manifest.json").write_text(json.dumps({"fingerprint": digest, "context": context}))
        (directory / "done").touch()
        return directory

    def job(self, place, overrides, digest, **more):
        """A job that has finished, and its report."""
        directory = self.root / place
        directory.mkdir(parents=True)
        nodes = {
            "bm25": str(self.root / "store" / "bm25-1"),
            "evaluate@a": digest,
            "report": str(self.report(f"f{digest}")),
        }
        content = {"overrides": overrides, "nodes": nodes, "places": {}, "fingerprint": digest} | more
        (directory / "result.json").write_text(json.dumps(content))
        return directory


@pytest.fixture
def outputs(tmp_path):
    made = Outputs(tmp_path / "outputs")
    (made.root / "store" / "bm25-1").mkdir(parents=True)
    made.job("runs/one", ["+experiment=a", "trainer=cpu", "seed=1", "x=1"], FIRST)
    sweep = made.job("multirun/s/0", ["seed=1", "x=2", "+experiment=a", "group='g'"], SECOND).parent
    made.job("multirun/s/1", ["seed=1", "x=3", "+experiment=a", "group='g'"], THIRD)
    ledger = Ledger(sweep)
    for number, state in enumerate([DONE, DONE, FAILED, RUNNING]):
        about = {"name": "a", "overrides": [f"x={number + 2}", "+experiment=a", "seed=1"], "directory": str(number)}
        ledger.add(number, state, reason="out of memory" if state == FAILED else None, **about)
    return made


def found(given, outputs):
    return find_runs([str(item) for item in given], outputs.root)


def test_a_run_a_sweep_and_a_job_of_it(outputs):
    one, sweep = outputs.root / "runs" / "one", outputs.root / "multirun" / "s"
    assert [job["fingerprint"] for job in found([one], outputs).jobs] == [FIRST]
    assert [job["fingerprint"] for job in found([sweep / "1"], outputs).jobs] == [THIRD]
    runs = found([one, sweep], outputs)
    assert [job["fingerprint"] for job in runs.jobs] == [FIRST, SECOND, THIRD]
    assert [job["source"] for job in runs.jobs] == [str(one), str(sweep), str(sweep)]
    assert [(job["state"], job["reason"]) for job in runs.failed] == [("failed", "out of memory"), ("not run", "")]


def test_overrides_stand_in_one_order_without_those_about_running(outputs):
    runs = found([outputs.root / "runs" / "one", outputs.root / "multirun" / "s"], outputs)
    assert [job["overrides"] for job in runs.jobs] == [["+experiment=a", "seed=1", f"x={x}"] for x in (1, 2, 3)]
    assert [job["overrides"] for job in runs.failed] == [["+experiment=a", "seed=1", f"x={x}"] for x in (4, 5)]


def test_what_another_run_sets_is_told_of_all(outputs):
    """As its configuration has it, where that is known; groups by the record; never half of a group."""
    config = {"seed": 42, "x": 0.5, "flag": True, "nothing": None, "many": ["a", "b"], "encoder": {"width": 3}}
    plain = outputs.job("runs/plain", ["x=.5"], "8" * 12, job={"config": config, "encoder": "tiny", "scale": None})
    other = ["x=2", "encoder=big", "flag=false", "nothing=1", "many=[c]", "y=1", "mask@view=z", "scale=gpu", "~gone"]
    outputs.job("runs/other", other, "9" * 12)
    jobs = found([plain, outputs.root / "runs" / "other"], outputs).jobs
    assert jobs[0]["overrides"] == ["x=0.5", "encoder=tiny", "flag=true", "nothing=null", "many=[a,b]"]
    assert jobs[1]["overrides"] == other


def test_failed_jobs_have_what_the_others_of_their_sweep_agree_on(outputs):
    for number, seed in enumerate((1, 1)):
        path = outputs.root / "multirun" / "s" / str(number) / "result.json"
        config = {"seed": seed, "x": number + 2, "rungs": 1}
        path.write_text(json.dumps(json.loads(path.read_text()) | {"job": {"config": config}}))
    one = outputs.job("runs/more", ["rungs=4"], "8" * 12)
    runs = found([one, outputs.root / "multirun" / "s"], outputs)
    assert [job["overrides"][0] for job in runs.jobs] == ["rungs=4", "rungs=1", "rungs=1"]
    assert runs.failed[0]["overrides"] == ["rungs=1", "seed=1", "x=4", "+experiment=a"]


def test_a_job_that_is_named_twice_stands_once(outputs):
    sweep = outputs.root / "multirun" / "s"
    runs = found([sweep / "0", sweep, os.path.relpath(sweep), SECOND], outputs)
    assert [job["fingerprint"] for job in runs.jobs] == [SECOND, THIRD]
    assert len(runs.failed) == 2


def test_a_failed_job_that_was_finished_elsewhere_is_no_row(outputs):
    again = outputs.job("runs/again", ["+experiment=a", "x=4", "logger=none", "seed=1"], "777777777777")
    runs = found([outputs.root / "multirun" / "s", again], outputs)
    assert [job["state"] for job in runs.failed] == ["not run"]


def test_what_only_fingerprints_tell_apart_is_told_apart_by_them(outputs):
    other = outputs.job("runs/other", ["+experiment=a", "seed=1", "x=1"], "777777777777")
    runs = found([outputs.root / "runs" / "one", other, outputs.root / "multirun" / "s"], outputs)
    same = ["+experiment=a", "seed=1", "x=1"]
    assert [job["overrides"] for job in runs.jobs[:2]] == [[*same, f"fingerprint={d}"] for d in ("abc123", "777777")]
    assert runs.jobs[2]["overrides"] == ["+experiment=a", "seed=1", "x=2"]


@pytest.mark.parametrize("digits", [THIRD, "012345", "abc1239", f"f{FIRST}"])
def test_a_fingerprint_may_be_cut_short(outputs, digits):
    (job,) = found([digits], outputs).jobs
    assert job["fingerprint"].startswith(digits)


def test_the_newest_of_runs_with_one_fingerprint_counts(outputs):
    again = outputs.job("runs/again", ["x=4"], THIRD)
    os.utime(again, (2e9, 2e9))
    (job,) = found([THIRD], outputs).jobs
    assert job["source"] == str(again)


def test_a_report_stage_is_the_job_that_made_it(outputs):
    directory = outputs.report("0f0f0f0f0f0f", ["x=9", "logger=csv"])
    (job,) = found([directory], outputs).jobs
    assert job["overrides"] == ["x=9"]
    assert job["nodes"] == {"bm25": str(outputs.root / "store" / "bm25-1"), "report": str(directory)}
    assert job["places"] == {"train_share": 0.5, "pretrain_step": None}
    assert found(["0f0f0f"], outputs).jobs[0]["nodes"] == job["nodes"]


def test_outputs_that_were_moved_are_found_in_their_new_place(outputs, tmp_path):
    moved = tmp_path / "elsewhere"
    shutil.move(outputs.root, moved)
    runs = find_runs([str(moved / "multirun" / "s"), "abc1230"], moved)
    assert {job["nodes"]["bm25"] for job in runs.jobs} == {str(moved / "store" / "bm25-1")}


def test_a_sweep_without_a_ledger_has_its_finished_jobs(outputs):
    (outputs.root / "multirun" / "s" / "ledger.jsonl").unlink()
    runs = found([outputs.root / "multirun" / "s"], outputs)
    assert ([job["fingerprint"] for job in runs.jobs], runs.failed) == ([SECOND, THIRD], [])


def broken(outputs):
    """Directories in which nothing can be read."""
    (outputs.root / "runs" / "killed" / ".hydra").mkdir(parents=True)
    sweep = outputs.root / "multirun" / "failed"
    Ledger(sweep).add(0, FAILED, reason="no", overrides=["x=1"], directory="0")
    outputs.job("runs/old", ["x=1"], "1" * 12)
    (outputs.root / "runs" / "old" / "result.json").write_text('{"overrides": []}')
    outputs.job("runs/part", ["x=1"], "2" * 12, nodes={"bm25": str(outputs.root / "store" / "bm25-1")})
    outputs.job("runs/gone", ["x=1"], "3" * 12)
    shutil.rmtree(outputs.root / "store" / ("report-f" + "3" * 12))
    outputs.report("e" * 12)
    (outputs.root / "store" / ("report-" + "e" * 12) / "done").unlink()
    outputs.report("d" * 12, stage="evaluate")
    (outputs.root / "store" / ("report-" + "d" * 12) / "report.json").unlink()


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("abc123", "several fingerprints begin with abc123: .*; give more digits"),
        ("abc12", "there is no directory abc12; give directories such as .*, or at least 6 digits"),
        ("fedcba", "no run that has finished in .*outputs has a fingerprint that begins with fedcba; give its"),
        ("outputs/runs/none", "there is no directory outputs/runs/none; give directories"),
        ("runs/killed", "no run has finished in .*killed .it has no result.json.: run its command again"),
        ("multirun/failed", "no job of the sweep in .*failed has finished: run its command again"),
        ("runs/old", "result.json was written by another version: run its command again with this one"),
        ("runs/part", r"the run in .*part has made no report: run its command again with stage=\[report\]"),
        ("runs/gone", "report-f333333333333, the report of .*gone, is gone: run its command again"),
        ("store/report-eeeeeeeeeeee", "is no finished report but the stage report: give a directory"),
        ("store/report-dddddddddddd", "is no finished report but the stage evaluate: give a directory"),
    ],
)
def test_what_is_no_finished_run_is_refused_in_one_line(outputs, given, message):
    broken(outputs)
    place = outputs.root / given if (outputs.root / given).is_dir() else given
    with pytest.raises(BadInput, match=f"^report.runs: .*{message}") as error:
        found([place], outputs)
    assert "\n" not in str(error.value)


def test_nothing_is_refused(outputs):
    with pytest.raises(BadInput, match="report.runs is empty"):
        found([], outputs)
