"""A sweep as one experiment: one W&B group for all of its jobs, and at its end one table and one page over them."""

import hashlib
import json
import re
import shutil
from pathlib import Path
from typing import Any

from hydra.experimental.callback import Callback

UNNAMED = ("output_dir=", "logger", "trainer", "stage=")
"""Overrides that say how a sweep is run, not what it runs over."""
LONGEST_GROUP = 80


class Comparison(Callback):
    """Hydra callback; reads the `result.json` of every job of a sweep."""

    group = ""

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        """Give all jobs the same `group`, unless the command or the table names one."""
        from omegaconf import open_dict

        self.group = config.group or sweep_group(list(config.hydra.overrides.task))
        if config.group is None:
            with open_dict(config.hydra.overrides):
                config.hydra.overrides.task.append(f"group='{self.group}'")

    def on_run_end(self, config: Any, **_: Any) -> None:
        """Print what a single job would take (`check=true`)."""
        from bmae_lightning.report.forecast import print_forecasts

        print_forecasts()

    def on_multirun_end(self, config: Any, **_: Any) -> None:
        """Write report.html, report.json and tables/ into the sweep's directory and print the tables; with `check=true`
        print what the jobs would take."""
        from bmae_lightning.report.sweep import compare
        from bmae_lightning.runtime.process import process_rank

        directory = Path(config.hydra.sweep.dir)
        if config.check:
            self.on_run_end(config)
            shutil.rmtree(directory, ignore_errors=True)
        files = sorted(directory.glob("*/result.json"), key=lambda path: int(path.parent.name))
        if process_rank() == 0 and len(files) > 1:
            jobs = [json.loads(path.read_text(encoding="utf-8")) for path in files]
            compare(jobs, directory, f"comparison: {self.group}")


def sweep_group(overrides: list[str]) -> str:
    """A name that says what a sweep runs over, the same when the sweep is started again; at most 80 characters.

    Args:
        overrides: of the command, with all choices as they stand there.
    """
    told = [item.lstrip("+") for item in overrides if not item.lstrip("+").startswith(UNNAMED)]
    name = re.sub(r"[/\\'\"]", "-", " ".join(told)) or "sweep"
    if len(name) <= LONGEST_GROUP:
        return name
    return f"{name[: LONGEST_GROUP - 9]} {hashlib.sha256(name.encode()).hexdigest()[:8]}"
