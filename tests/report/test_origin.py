"""What is behind a row: sums over a small graph of stages, by hand."""

import json

import pytest

from bmae_lightning.report.origin import origin_of, with_job
from bmae_lightning.runtime.plain import plain
from bmae_lightning.runtime.record import Attempt, Record

JOB = {
    "name": "retromae", "command": "python -m bmae_lightning seed=1", "encoder": "tiny", "seed": 1,
    "masks": {"view.passage": {"policy": "UniformMask", "rate": 0.3}}, "config": {"long": True},
}  # fmt: skip
GPU, CPU = "NVIDIA H200", "Xeon, 2 threads"


@pytest.fixture
def finished(tmp_path):
    """finished(stage, inputs, attempts, …) makes a directory of the store and returns it."""

    def make(stage, inputs=(), attempts=(), commit="a", versions=None, speeds=(), results=None):
        directory = tmp_path / "store" / stage.replace("@", "-")
        directory.mkdir(parents=True)
        context = {
            "stage": stage.partition("@")[0],
            "inputs": {path.name: str(path) for path in inputs} | {"none": None},
        }
        manifest = {"fingerprint": f"f-{stage}", "context": context, "config": {"seed": 1} if speeds else {}}
        (directory / "manifest.json").write_text(json.dumps(manifest))
        if attempts:
            record = Record(list(attempts), {"torch": "2.13"} if versions is None else versions, commit)
            (directory / "record.json").write_text(json.dumps(plain(record)))
        if speeds:
            lines = [{"step": i, "loss": 1.0, "passages_per_second": speed} for i, speed in enumerate(speeds)]
            (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        if results is not None:
            (directory / "metrics.json").write_text(json.dumps(results))
        return directory

    return make


def took(hours, devices=1, device=CPU, day=1, **more):
    at = f"2026-11-{day:02}T10:00:00+0000"
    return Attempt(at, at, 3600.0 * hours, "h", device, devices, device == GPU, **more)


@pytest.fixture
def nodes(finished):
    """prepare is needed by everything; bm25 by the retriever alone, whose pre-training was stopped once."""
    prepare = finished("prepare", (), [took(1, day=3, peak_gib=90.0)])
    bm25 = finished("bm25", [prepare], [took(0.5, day=4, peak_gib=2.0)], results={})
    pretrain = finished(
        "pretrain@a", [prepare],
        [took(2, 8, GPU, 5, peak_gib=60.0, watt_hours=100.0), took(1, 4, GPU, 6, peak_gib=70.0, watt_hours=40.0)],
        speeds=[1.0, 500.0, 520.0, 510.0], versions={"torch": "2.12", "numpy": "2"},
    )  # fmt: skip
    retriever = finished("retriever1@a", [prepare, bm25, pretrain], [took(1, 1, GPU, 7, peak_gib=20.0)], speeds=[7.0])
    evaluated = {"passages_per_second": 900.0}
    evaluate = finished("evaluate@a", [prepare, retriever], [took(0.5, 1, GPU, 8)], commit="b", results=evaluated)
    return {"prepare": prepare, "bm25": bm25, "pretrain@a": pretrain, "evaluate@a": evaluate}


def test_what_a_row_took_is_summed_over_all_that_it_depends_on(nodes):
    origin = origin_of(nodes, "evaluate@a", JOB)
    assert origin.seconds == 3600 * (1 + 0.5 + (2 + 1) + 1 + 0.5)
    assert origin.device_hours == 8 * 2 + 4 * 1 + 1 + 0.5, "of the GPUs"
    assert origin.peak_gib == 70.0, "of the GPUs, not the 90 GiB of preparing"
    assert origin.watt_hours == 140.0
    assert origin.device == "8 x NVIDIA H200, 4 x NVIDIA H200, NVIDIA H200"
    assert origin.started == "2026-11-03T10:00:00+0000"
    assert (origin.passages_per_second, origin.encodes_per_second) == (505.0, 900.0)
    assert origin.fingerprint == "f-evaluate@a"
    assert origin.commit == "a, b"
    assert origin.versions == {"torch": "2.13, 2.12", "numpy": "2"}
    assert origin.complete
    assert origin.job == {name: value for name, value in JOB.items() if name != "config"}


def test_a_row_without_training_has_neither_seed_nor_encoder_nor_masks(nodes):
    origin = origin_of(nodes, "bm25", JOB)
    assert (origin.device_hours, origin.peak_gib, origin.watt_hours) == (1.5, 90.0, None)
    assert origin.device == CPU
    assert (origin.passages_per_second, origin.encodes_per_second) == (None, None)
    assert (origin.job["seed"], origin.job["encoder"], origin.job["masks"]) == (None, None, {})
    other = with_job(origin, JOB | {"command": "other", "seed": 2})
    assert (other.job["command"], other.job["seed"], other.job["masks"]) == ("other", None, {})
    again = with_job(origin_of(nodes, "evaluate@a", JOB), JOB | {"seed": 2})
    assert (again.job["seed"], again.job["masks"]) == (2, JOB["masks"])
    assert again.device_hours == 21.5


def test_a_row_without_pre_training_has_no_masks_and_no_speed(finished, nodes):
    retriever = finished("retriever1@none", [nodes["bm25"]], [took(1)], speeds=[7.0])
    origin = origin_of({"evaluate@none": retriever}, "evaluate@none", JOB)
    assert (origin.job["seed"], origin.job["encoder"], origin.job["masks"]) == (1, "tiny", {})
    assert origin.passages_per_second is None


def test_what_is_not_recorded_is_not_made_up(finished, nodes):
    killed = Attempt("2026-11-09T10:00:00+0000", device=CPU)
    retriever = finished("retriever1@none", [nodes["bm25"]], [killed, took(1, day=10)], speeds=[7.0])
    origin = origin_of({"x": retriever}, "x", JOB)
    assert not origin.complete
    assert origin.seconds == 2.5 * 3600
    unknown = origin_of({"x": finished("evaluate@old")}, "x", {})
    assert (unknown.seconds, unknown.device_hours, unknown.peak_gib, unknown.commit) == (None, None, None, None)
    assert not unknown.complete


def test_a_store_that_was_moved_is_found(nodes, tmp_path):
    (tmp_path / "store").rename(tmp_path / "moved")
    moved = {key: tmp_path / "moved" / path.name for key, path in nodes.items()}
    assert origin_of(moved, "evaluate@a", JOB).device_hours == 21.5
