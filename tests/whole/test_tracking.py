"""W&B as a user finds it: a sweep's offline files, a run that is killed and continued, one run under `wandb agent`."""

import json
import os
import signal
import time

import pytest
from support.command import TINY, command, start, write_collection
from support.wandb_files import read_part, read_runs, steps
from support.wandb_server import KEY, wandb_server

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_collection(tmp_path_factory.mktemp("corpus"))


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    for name in [name for name in os.environ if name.startswith("WANDB_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("WANDB_MODE", "offline")


def test_a_sweep_of_two_jobs(corpus, tmp_path):
    rates = {0.3, 0.7}
    output = command(
        "-m", *TINY, f"corpus.path={corpus}", "decoders.enhanced.mask.rate=0.3,0.7", "logger=[wandb,csv]", cwd=tmp_path
    )
    runs = read_runs(tmp_path / "outputs")
    assert all(len(parts) == 1 for parts in runs.values())
    parts = [part for (part,) in runs.values()]
    kinds = [part.run["job_type"] for part in parts]
    assert sorted(kinds) == sorted(
        ["bm25", "comparison", "retriever1", "evaluate"] + 2 * ["pretrain", "retriever1", "evaluate", "job"]
    )
    assert len({part.run["run_group"] for part in parts}) == 1
    measured = [part for part in parts if any(key.endswith("test/RR@10") for row in part.rows for key in row)]
    assert {part.run["job_type"] for part in measured} == {"bm25", "evaluate", "job"}
    for part in measured:
        assert part.config["masks/decoders/enhanced/rate"] in rates
        assert (part.config["seed"], part.config["method"]) == (42, "retromae")
        assert {"retromae", "beir", "tiny", "laptop", part.run["job_type"]} <= set(part.run["tags"])
    jobs = [part for part in parts if part.run["job_type"] == "job"]
    assert {part.config["masks/decoders/enhanced/rate"] for part in jobs} == rates
    assert all({"evaluate/test/RR@10", "evaluate@none/test/RR@10", "pretrain/loss"} <= set(j.rows[0]) for j in jobs)
    chain = {
        "pretrain": ("corpus", "encoder"), "retriever1": ("encoder", "retriever"), "evaluate": ("retriever", "run"),
    }  # fmt: skip
    for stage, (taken, given) in chain.items():
        for part in (p for p in parts if p.run["job_type"] == stage and not p.config["shared"]):
            assert taken in {kind for kind, _ in part.artifact_names(used=True)}
            assert [kind for kind, _ in part.artifact_names(used=False)] == [given]
    table = json.loads(next(tmp_path.glob("outputs/wandb/*comparison*/files/media/table/sweep_*.json")).read_text())
    assert [dict(zip(table["columns"], row, strict=True))["state"] for row in table["data"]] == ["done", "done"]
    assert len([line for line in output.splitlines() if line.startswith("W&B")]) == 3, "one for each job, one for all"
    assert len(list(tmp_path.glob("outputs/**/csv/version_0/metrics.csv"))) == len(parts)
    again = command("dashboard", cwd=tmp_path)
    assert "2 jobs, axes: masks/decoders/enhanced/rate" in again
    assert len(list(tmp_path.glob("outputs/wandb/offline-run-*"))) == len(parts)


def test_a_killed_stage_continues_its_history(corpus, tmp_path):
    arguments = [
        *TINY, f"corpus.path={corpus}", "pretrain.steps=60", "pretrain.checkpoint.every_steps=5", "stage=[pretrain]",
    ]  # fmt: skip
    process = start(*arguments, cwd=tmp_path, start_new_session=True)
    deadline = time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        found = list(tmp_path.glob("outputs/store/pretrain-*/metrics.jsonl"))
        if found and len(found[0].read_text().splitlines()) >= 12:
            break
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    (killed,) = tmp_path.glob("outputs/wandb/offline-run-*pretrain*/run-*.wandb")
    assert read_part(killed).code is None
    assert "continuing from" in command(*arguments, cwd=tmp_path)
    parts = next(parts for name, parts in read_runs(tmp_path / "outputs").items() if name.startswith("pretrain"))
    assert len(parts) == 2
    assert steps(parts) == sorted(set(steps(parts))), "no step falls and none is logged twice"
    losses = [row["trainer/global_step"] for part in parts for row in part.rows if "loss" in row]
    assert losses == list(range(1, 61))


def test_a_job_of_wandb_agent_is_one_run(corpus, tmp_path, monkeypatch):
    parameters = tmp_path / "parameters.yaml"
    parameters.write_text("decoders.enhanced.mask.rate:\n  desc: null\n  value: 0.4\n")
    given = {"SWEEP_ID": "sweep1", "RUN_ID": "agentrun1", "SWEEP_PARAM_PATH": str(parameters)}
    for name, value in given.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    arguments = [*TINY, f"corpus.path={corpus}", "decoders.enhanced.mask.rate=0.4", "stage=[evaluate]"]
    output = command(*arguments, cwd=tmp_path)
    ((part,),) = read_runs(tmp_path / "outputs").values()
    assert list(tmp_path.glob("outputs/wandb/*-agentrun1"))
    assert part.run["sweep_id"] == "sweep1"
    assert part.config["decoders.enhanced.mask.rate"] == 0.4
    assert part.config["masks/decoders/enhanced/rate"] == 0.4
    keys = {key for row in part.rows for key in row if not key.startswith("_")}
    assert {"pretrain/loss", "retriever1/loss", "retriever1@none/loss", "bm25/test/RR@10"} <= keys
    assert {"evaluate/test/RR@10", "evaluate@none/test/RR@10"} <= keys
    assert all("/" in key for key in keys)
    assert steps([part]) == sorted(set(steps([part])))
    assert "W&B: 1 offline run" in output
    monkeypatch.setenv("WANDB_RUN_ID", "agentrun2")  # the same point once more: all stages are there already
    command(*arguments, cwd=tmp_path)
    (again,) = read_runs(tmp_path / "outputs")["agentrun2"]
    measured = [[row[key] for row in of.rows if key in row] for of in (part, again) for key in ["evaluate/test/RR@10"]]
    assert len(measured[0]) == 1
    assert measured[0] == measured[1]


def test_online_a_job_is_told_in_one_line(corpus, tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setattr("support.command.environment", lambda: os.environ | {"OMP_NUM_THREADS": "1"})
    with wandb_server() as (url, told):
        monkeypatch.setenv("WANDB_BASE_URL", url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        output = command(*TINY, f"corpus.path={corpus}", "baseline=false", "stage=[evaluate]", cwd=tmp_path)
    (line,) = [line for line in output.splitlines() if "wandb" in line.lower() or "W&B" in line]
    assert line.startswith(f"W&B: {url}/me/bmae_lightning/runs/job-")
    rows = {name.split("-")[0]: of for name, of in told.rows.items()}
    assert [row["trainer/global_step"] for row in rows["pretrain"] if "loss" in row] == list(range(1, 7))
    assert rows["job"][0]["evaluate/test/RR@10"] == rows["evaluate"][0]["test/RR@10"]
    assert {kind for kind, _ in told.used} == {"corpus", "encoder", "retriever", "run"}
    assert {kind for kind, _ in told.artifacts.values()} - {"run_table"} == {"corpus", "encoder", "retriever", "run"}
