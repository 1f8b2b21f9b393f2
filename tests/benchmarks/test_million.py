"""The benchmark of a million passages, here in one process and with a few hundred; no time is asserted."""

import importlib.util
import os

import numpy as np
import pytest
from support.paths import ROOT

from bmae_lightning.evaluation.measure.trec import read_run


@pytest.fixture(scope="module")
def million():
    spec = importlib.util.spec_from_file_location("million", ROOT / "benchmarks" / "million.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_steps(million, tmp_path):
    million.write_collection(tmp_path / "beir", 300)
    for step in million.STEPS:
        getattr(million, step)(tmp_path, 1)
    assert np.load(tmp_path / "passages.npy").shape == (300, 64)
    run = read_run(tmp_path / "run.trec")
    assert len(run) == 300
    assert {len(run.passages(query)) for query in run} == {300}


def test_memory_of_this_process(million):
    resident, anonymous = million.memory(os.getpid())
    assert resident >= anonymous > 20e6
    held = np.ones(5_000_000)
    assert million.memory(os.getpid())[1] - anonymous > 0.8 * held.nbytes


def test_a_straight_line(million):
    numbers = {"seconds": 10.0, "cpu_seconds": 5.0, "peak_resident_gb": 1.0, "peak_anonymous_gb": 0.5}
    small = {"step": "encode", "passages": 100_000} | numbers
    large = small | {"passages": 1_000_000, "seconds": 100.0, "peak_resident_gb": 1.9}
    found = million.extrapolate(small, large)
    assert found["passages"] == 8_841_823
    assert found["seconds"] == pytest.approx(884.18, abs=0.01)
    assert found["peak_resident_gb"] == pytest.approx(1 + 8.741823, abs=0.01)
    assert found["cpu_seconds"] == 5.0
