"""The wheel carries the package and its configuration, and nothing of the checkout is needed to run it."""

import subprocess
import sys
import zipfile

from support.paths import CONF, ROOT


def test_the_wheel_holds_every_module_and_yaml(tmp_path):
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", tmp_path, ROOT],
        check=True, timeout=120,
    )  # fmt: skip
    wheel = next(tmp_path.glob("*.whl"))
    with zipfile.ZipFile(wheel) as file:
        names = set(file.namelist())
        file.extractall(tmp_path / "installed")
    for path in (ROOT / "bmae_lightning").rglob("*.py"):
        assert str(path.relative_to(ROOT)) in names
    for path in (CONF).rglob("*.yaml"):
        assert f"bmae_lightning/{path.relative_to(ROOT)}" in names
    done = subprocess.run(
        [sys.executable, "-m", "bmae_lightning", "--cfg", "job", "+experiment=retromae"],
        cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "installed"), "PATH": ""}, capture_output=True, text=True,
        check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "name: retromae" in done.stdout
