"""The benchmark of masks runs, and both sides select alike; no time is asserted."""

import re
import subprocess
import sys

from support.paths import ROOT


def test_one_repeat_of_every_case():
    done = subprocess.run(
        [sys.executable, "benchmarks/masking.py", "--batch", "32", "--length", "24", "--repeats", "1"],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    shares = re.findall(r"^  (\w+) .* ours / loops ([\d.]+) \.\. ([\d.]+)$", done.stdout, re.MULTILINE)
    assert {name for name, _, _ in shares} == {
        "uniform", "keyword", "importance", "superset", "complement", "enhanced", "enhanced_pooled", "master",
    }  # fmt: skip
    assert len(shares) == 16
    for name, least, most in shares:
        assert 0.8 < float(least) <= float(most) < 1.25, name


def test_the_table_of_the_paper_has_ours_beside_it():
    done = subprocess.run(
        [sys.executable, "benchmarks/masking.py", "--table", "--batch", "8", "--length", "16", "--repeats", "1"],
        cwd=ROOT, env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    rows = re.findall(r"^(\w+) \(\+experiment=\w+\) +(O\(.+?\)) +([\d.]+) +- +(.+?)\s*$", done.stdout, re.MULTILINE)
    assert [(name, complexity, paper.split()) for name, complexity, _, paper in rows] == [
        ("MAE", "O(n)", ["0.4", "-"]), ("RetroMAE", "O(n^2)", ["11.6", "-"]), ("SimLM", "O(n^2)", ["0.4", "2.8"]),
        ("CDMAE", "O(n log n)", ["1.1", "-"]),
    ]  # fmt: skip
