"""W&B runs as they lie on the disk: what a run says of itself, its history over kills, its artifacts, its variables."""

import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from support.wandb_files import read_closed, read_runs, steps
from support.wandb_server import KEY, wandb_server

from bmae_lightning.report.tracking.about import JOB
from bmae_lightning.report.tracking.parts import read_parts
from bmae_lightning.report.tracking.summary import track_job, track_sweep
from bmae_lightning.report.tracking.wandb import WandbTracking, _closed, run_id_of, several_jobs
from bmae_lightning.runtime.run_stage import read_manifest, write_manifest
from bmae_lightning.runtime.stage import Context

JOB_OF_TEST = {
    "name": "retromae", "group": "sweep", "method": "retromae", "encoder": "tiny", "scale": "laptop", "corpus": "beir",
    "seed": 3, "masks": {"decoders.enhanced": {"policy": "UniformMask", "rate": 0.4}}, "overrides": ["seed=3"],
    "command": "python -m bmae_lightning seed=3", "config": {"seed": 3, "decoders": {"enhanced": {"layers": 1}}},
}  # fmt: skip


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    for name in ("RUN_ID", "NAME", "NOTES", "TAGS", "RUN_GROUP", "DIR", "PROJECT", "ENTITY", "JOB_TYPE", "DISABLED"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.setenv("WANDB_MODE", "offline")


def stage(root: Path, name: str, target: str, arm: str = "retromae", **inputs: Path) -> Context:
    """The context of a stage, as its manifest has it."""
    directory = root / "store" / f"{name}-0123456789ab"
    given = {role: str(path) for role, path in inputs.items()}
    context = {
        "stage": name, "arm": arm, "directory": str(directory), "inputs": given, "group": "sweep",
        "output_dir": str(root), "pretrain_step": None, "job": JOB_OF_TEST,
    }  # fmt: skip
    directory.mkdir(parents=True, exist_ok=True)
    config = {"_target_": f"bmae_lightning.stage.x.{target}", "lr": 0.5}
    return read_manifest(write_manifest(directory, "0123456789ab", context, config))[0]


def log_steps(context: Context, numbers: range) -> None:
    """What StepMetrics does: a line in metrics.jsonl, then the loggers."""
    with WandbTracking().of(context) as loggers:
        for number in numbers:
            with (context.directory / "metrics.jsonl").open("a") as file:
                file.write(json.dumps({"step": number, "loss": number / 2}) + "\n")
            for logger in loggers:
                logger.log_metrics({"loss": number / 2}, step=number)


def test_a_run_says_what_it_is_of_and_what_it_was_made_from(tmp_path):
    corpus = stage(tmp_path, "prepare", "Prepare", "")
    pretrain = stage(tmp_path, "pretrain", "Pretrain", corpus=corpus.directory)
    log_steps(pretrain, range(1, 3))
    WandbTracking(tags=["draft"]).log(
        stage(tmp_path, "evaluate", "Evaluate", "none", encoder=pretrain.directory), {"test/RR@10": 0.25}
    )
    runs = read_runs(tmp_path)
    (trained,), (measured,) = (
        runs["pretrain-0123456789ab-sweep"], runs["evaluate-0123456789ab-sweep"]
    )  # fmt: skip
    assert trained.config["masks/decoders/enhanced/rate"] == 0.4
    assert (trained.config["seed"], trained.config["method"], trained.config["shared"]) == (3, "retromae", False)
    assert trained.config["config"] == JOB_OF_TEST["config"]
    assert trained.config["settings"]["lr"] == 0.5
    assert trained.run["tags"] == ["retromae", "beir", "laptop", "tiny", "pretrain"]
    assert (trained.run["notes"], trained.run["run_group"]) == (JOB_OF_TEST["command"], "sweep")
    assert (trained.run["job_type"], trained.code) == ("pretrain", 0)
    assert trained.artifact_names(used=True) == {("corpus", "prepare-0123456789ab")}
    assert trained.artifact_names(used=False) == {("encoder", "pretrain-0123456789ab")}
    assert measured.artifact_names(used=True) == {("encoder", "pretrain-0123456789ab")}
    assert measured.run["tags"][-2:] == ["shared", "draft"]
    assert measured.config["shared"] is True
    assert measured.rows[0]["test/RR@10"] == 0.25


def test_the_history_only_grows_when_a_stage_is_killed_and_continued(tmp_path):
    context = stage(tmp_path, "pretrain", "Pretrain")
    log_steps(context, range(1, 6))
    (part,) = tmp_path.glob("wandb/offline-run-*/run-*.wandb")
    assert read_closed(part).code == 0
    whole = part.read_bytes()
    places = [found.start() for found in re.finditer(b"trainer/global_step", whole)]
    part.write_bytes(whole[: places[-4] + 30])  # what a kill leaves: the last records are lost, one is cut
    _closed.clear()  # as another process
    known = read_parts(tmp_path / "wandb", run_id_of(context)).last["loss"]
    assert 1 <= known < 5
    log_steps(context, range(3, 9))  # from a checkpoint after step 2
    log_steps(context, range(9, 9))
    (parts,) = read_runs(tmp_path).values()
    assert len(parts) == 3
    assert steps(parts, "trainer/global_step") == list(range(1, 9)), "every step once, and none lost"
    assert all(a < b for a, b in zip(steps(parts), steps(parts)[1:], strict=False))
    assert [row["loss"] for part in parts for row in part.rows] == [n / 2 for n in range(1, 9)]


def test_a_job_has_a_run_of_all_its_measures_once(tmp_path, capsys):
    ours, other = (stage(tmp_path / a, "evaluate", "Evaluate", a) for a in ("retromae", "none"))
    for context, value in ((ours, 0.5), (other, 0.25)):
        measured = {"test": {"mean": {"RR@10": value}, "queries": 2}, "passages_per_second": 7.0}
        (context.directory / "metrics.json").write_text(json.dumps(measured))
    nodes = {"evaluate@retromae": ours.directory, "evaluate@none": other.directory}
    job = Context(JOB, "retromae", tmp_path / "job-1", {}, "sweep", tmp_path, job=JOB_OF_TEST)
    for _ in range(2):
        track_job(WandbTracking(), job, nodes)
    (part,) = read_runs(tmp_path)["job-1-sweep"]
    assert part.rows[0]["evaluate/test/RR@10"] == 0.5
    assert part.rows[0]["evaluate@none/test/RR@10"] == 0.25
    assert part.config["masks/decoders/enhanced/rate"] == 0.4
    assert part.run["job_type"] == JOB
    assert part.artifact_names(used=True) == {("run", "evaluate-0123456789ab")}
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("W&B")]
    assert lines == [f"W&B: 1 offline run in {tmp_path}/wandb; upload: wandb sync {tmp_path}/wandb/offline-run-*"] * 2


def test_a_variable_is_before_what_is_usual_and_an_option_before_the_variable(tmp_path, monkeypatch):
    given = {
        "PROJECT": "p", "ENTITY": "e", "NAME": "n", "NOTES": "why", "TAGS": "a,b", "RUN_GROUP": "g", "JOB_TYPE": "j",
        "DIR": str(tmp_path / "there"),
    }  # fmt: skip
    for name, value in given.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    context = stage(tmp_path, "evaluate", "Evaluate")
    WandbTracking().log(context, {"test/RR@10": 1.0})
    explicit = JOB_OF_TEST | {"overrides": ["group=ours"]}
    WandbTracking(project="q", entity="f", tags=["c"]).log(
        replace(context, group="ours", job=explicit), {"test/RR@10": 1.0}
    )
    (((by_variable),), (by_option,)) = (
        read_runs(tmp_path / "there")[f"evaluate-0123456789ab-{g}"] for g in ("sweep", "ours")
    )
    names = ("project", "entity", "display_name", "notes", "run_group", "job_type")
    assert [by_variable.run[name] for name in names] == ["p", "e", "n evaluate (retromae)", "why", "g", "j"]
    assert by_variable.run["tags"][-2:] == ["a", "b"]
    assert [by_option.run[name] for name in ("project", "entity", "run_group")] == ["q", "f", "ours"]
    assert by_option.run["tags"][-1:] == ["c"]


def test_a_named_run_is_the_whole_job_with_keys_by_stage(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("WANDB_RUN_ID", "mine")
    pretrain, evaluate = stage(tmp_path, "pretrain", "Pretrain"), stage(tmp_path, "evaluate", "Evaluate")
    log_steps(pretrain, range(1, 4))
    WandbTracking().log(evaluate, {"test/RR@10": 0.5})
    WandbTracking().log(replace(evaluate, arm="none"), {"test/RR@10": 0.25})
    job = Context(JOB, "retromae", tmp_path / "job-1", {}, "sweep", tmp_path, job=JOB_OF_TEST)
    track_job(WandbTracking(), job, {"evaluate@retromae": evaluate.directory})
    (part,) = read_runs(tmp_path)["mine"]
    assert [row["pretrain/loss"] for row in part.rows[:3]] == [0.5, 1.0, 1.5]
    assert (part.rows[3]["evaluate/test/RR@10"], part.rows[4]["evaluate@none/test/RR@10"]) == (0.5, 0.25)
    assert steps([part]) == [1, 2, 3, 4, 5]
    assert part.run["job_type"] == JOB
    assert part.code == 0
    assert "(WANDB_RUN_ID: the job is one run, keys begin with its stages)" in capsys.readouterr().out


def test_a_sweep_does_not_take_the_name_of_one_run(monkeypatch, capsys):
    monkeypatch.setenv("WANDB_RUN_ID", "mine")
    several_jobs()
    several_jobs()
    assert capsys.readouterr().out == (
        "W&B: WANDB_RUN_ID not used: every job of a sweep (-m, seeds=) has runs of its own\n"
    )


def test_an_error_is_in_the_run_and_disabled_is_none(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError), WandbTracking().of(stage(tmp_path, "bm25", "Bm25Ranking", "")):
        raise RuntimeError
    ((part,),) = read_runs(tmp_path).values()
    assert part.code == 1
    monkeypatch.setenv("WANDB_MODE", "disabled")
    with WandbTracking().of(stage(tmp_path, "pretrain", "Pretrain")) as loggers:
        assert loggers == []
    with WandbTracking(mode="offline").of(stage(tmp_path, "pretrain", "Pretrain")) as loggers:
        assert len(loggers) == 1


def test_trouble_with_wandb_does_not_stop_the_work(tmp_path, monkeypatch, capsys):
    context = stage(tmp_path, "pretrain", "Pretrain")
    with WandbTracking().of(context) as (logger,):
        logger.log_metrics({"loss": 1.0}, step=1)
        monkeypatch.setattr(logger.run, "log", lambda *_, **__: 1 / 0)
        for number in (2, 3):
            logger.log_metrics({"loss": 1.0}, step=number)
    monkeypatch.setattr("wandb.init", lambda **_: 1 / 0)
    with WandbTracking().of(context) as loggers:
        assert loggers == []
    said = capsys.readouterr().out.splitlines()
    assert said == [
        "W&B: ZeroDivisionError (division by zero); values may be missing there",
        f"W&B: not available (division by zero); metrics.jsonl in {context.directory} has everything",
    ]


def test_a_run_is_named_by_its_stage_and_group_and_long_names_stay_apart():
    def run_id(group, directory="pretrain-0123456789ab"):
        return run_id_of(Context("pretrain", "retromae", Path("store") / directory, {}, group, Path()))

    assert run_id("retromae") == "pretrain-0123456789ab-retromae"
    assert run_id("experiment=a,b lr=1e-4") == "pretrain-0123456789ab-experiment-a-b-lr-1e-4"
    groups = [f"experiment=retromae,dupmae,simlm,master,cdmae corpus=beir pretrain.steps={i}" for i in range(3)]
    names = {run_id(group) for group in groups}
    assert len(names) == 3
    assert all(len(name) == 64 for name in names)
    assert run_id(groups[0]) != run_id(groups[0], "pretrain-ba9876543210")


def test_a_sweep_has_a_run_of_all_its_jobs(tmp_path):
    done = stage(tmp_path, "evaluate", "Evaluate")
    (done.directory / "metrics.json").write_text(json.dumps({"test": {"mean": {"RR@10": 0.5}, "queries": 2}}))
    sweep = tmp_path / "multirun" / "monday"
    sweep.mkdir(parents=True)
    (sweep / "report.html").write_text("<p>page</p>")
    jobs = [
        {"state": "done", "overrides": ["seed=3"], "job": JOB_OF_TEST, "nodes": {"evaluate@retromae": done.directory}},
        {
            "state": "failed",
            "overrides": ["seed=4", "decoders.enhanced.mask.rate=7"],
            "reason": "disk full",
        },
    ]
    for _ in range(2):  # a sweep that is continued
        track_sweep(WandbTracking(), sweep, tmp_path, "python -m bmae_lightning -m seed=3,4", jobs)
    (parts,) = read_runs(tmp_path).values()
    assert len(parts) == 2
    assert (parts[0].run["job_type"], parts[0].run["run_group"]) == ("comparison", "sweep")
    assert parts[0].run["notes"] == "python -m bmae_lightning -m seed=3,4"
    assert parts[0].config["varies"] == ["seed", "masks/decoders/enhanced/rate"]
    assert parts[0].config["jobs"] == {"done": 1, "failed": 1}
    assert parts[0].artifact_names(used=True) == {("run", "evaluate-0123456789ab")}
    assert all(a < b for a, b in zip(steps(parts), steps(parts)[1:], strict=False))
    folder = next(iter(sorted(tmp_path.glob("wandb/offline-run-*comparison*"))))
    table = json.loads(next(folder.glob("files/media/table/sweep_*.json")).read_text())
    first, second = (dict(zip(table["columns"], row, strict=True)) for row in table["data"])
    assert (first["state"], first["seed"], first["evaluate/test/RR@10"]) == ("done", 3, 0.5)
    assert first["masks/decoders/enhanced/rate"] == 0.4
    assert [second[key] for key in ("state", "reason", "seed", "evaluate/test/RR@10")] == [
        "failed",
        "disk full",
        "4",
        None,
    ]
    assert second["masks/decoders/enhanced/rate"] == "7"
    assert "<p>page</p>" in next(folder.glob("files/media/html/report_*.html")).read_text()


def test_wandb_uploads_the_parts_of_a_run_as_one_growing_history(tmp_path):
    corpus = stage(tmp_path, "prepare", "Prepare", "")
    pretrain = stage(tmp_path, "pretrain", "Pretrain", corpus=corpus.directory)
    for numbers in (range(1, 4), range(3, 6), range(6, 9)):
        log_steps(pretrain, numbers)
        read_runs(tmp_path)
        time.sleep(1.0)  # the time in the names of parts has seconds
    with wandb_server() as (url, told):
        given = os.environ | {"WANDB_BASE_URL": url, "WANDB_API_KEY": KEY, "WANDB_MODE": "online"}
        parts = sorted(map(str, tmp_path.glob("wandb/offline-run-*")), reverse=True)
        sync = [sys.executable, "-m", "wandb", "sync", *parts]
        done = subprocess.run(sync, cwd=tmp_path, env=given, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    (rows,) = told.rows.values()
    assert [row["trainer/global_step"] for row in rows] == list(range(1, 9))
    assert [row["_step"] for row in rows] == list(range(1, 9))
    assert set(told.used) == {("corpus", "prepare-0123456789ab")}
    assert set(told.artifacts.values()) - set(told.used) == {("encoder", "pretrain-0123456789ab")}
