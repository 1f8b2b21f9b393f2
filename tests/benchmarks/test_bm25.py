"""The benchmark of BM25 runs, and both sides find the same scores."""

import subprocess
import sys

import pytest
from support.paths import ROOT


@pytest.mark.slow  # bm25s compiles in every process
def test_both_sides_take_turns():
    done = subprocess.run(
        [sys.executable, "benchmarks/bm25.py", "--sizes", "600", "--queries", "20", "--k", "30", "--repeats", "1"],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("600 passages, 20 queries, k=30: search ")
