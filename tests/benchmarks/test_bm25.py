"""The benchmark of BM25 runs, and both sides find the same scores."""

import subprocess
import sys

from support.paths import ROOT


def test_both_sides_take_turns():
    done = subprocess.run(
        [sys.executable, "benchmarks/bm25.py", "--sizes", "600", "--queries", "20", "--k", "30", "--repeats", "1"],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("600 passages, 20 queries, k=30: search ")
