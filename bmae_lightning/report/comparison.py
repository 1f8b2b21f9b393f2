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
CHECKED = "bmae_lightning-check-"
"""What the name of the directory begins with that a sweep is given where nothing runs."""
ROW, RESULT = "row.json", "result.json"
"""What a job of a sweep leaves in its directory: the printed row that it is, and at its end what it has run."""
KEPT = ("name", "paper_row", "paper_results", "requires")


class Comparison(Callback):
    """Hydra callback; reads what every job of a sweep leaves."""

    group = ""

    def on_multirun_start(self, config: Any, **_: Any) -> None:
        """Give all jobs the same `group`, unless the command or the table names one."""
        from omegaconf import open_dict

        self.group = config.group or sweep_group(list(config.hydra.overrides.task))
        if config.group is None:
            with open_dict(config.hydra.overrides):
                config.hydra.overrides.task.append(f"group='{self.group}'")

    def on_run_end(self, config: Any, **_: Any) -> None:
        """Print what the jobs would take (`check=true`), and remove the directory that Hydra was given for them."""
        from bmae_lightning.report.forecast import print_forecasts

        print_forecasts()
        directory = Path(config.hydra.sweep.dir)
        if config.check and directory.name.startswith(CHECKED):
            shutil.rmtree(directory, ignore_errors=True)

    def on_job_start(self, config: Any, **_: Any) -> None:
        """Keep what is printed for a job of a printed table, whatever becomes of the job."""
        from omegaconf import OmegaConf

        from bmae_lightning.runtime.files import write_json
        from bmae_lightning.runtime.process import process_rank

        if config.paper_table is not None and not config.check and process_rank() == 0:
            row = OmegaConf.to_container(OmegaConf.masked_copy(config, KEPT))
            choices = config.hydra.runtime.choices
            row |= {"collection": config.corpus.get("collection"), "corpus": choices.corpus, "scale": choices.scale}
            row["overrides"] = list(config.hydra.overrides.task)
            write_json(Path(config.hydra.runtime.output_dir) / ROW, row)

    def on_multirun_end(self, config: Any, **_: Any) -> None:
        """Write report.html, report.json and tables/ into the sweep's directory and print the tables; with `check=true`
        print what the jobs would take."""
        from bmae_lightning.report.sweep import compare
        from bmae_lightning.runtime.process import process_rank

        directory = Path(config.hydra.sweep.dir)
        if config.check:
            self.on_run_end(config)
            return
        jobs = left_by_jobs(directory, RESULT)
        if process_rank() == 0 and (len(jobs) > 1 or config.paper_table is not None):
            printed, verdicts = printed_tables(config, directory, jobs)
            compare(list(jobs.values()), directory, f"comparison: {self.group}", printed, verdicts)


def left_by_jobs(directory: Path, name: str) -> dict[str, dict[str, Any]]:
    """Number of a job -> its file of this name, in the order of the jobs."""
    files = sorted(directory.glob(f"*/{name}"), key=lambda path: int(path.parent.name))
    return {path.parent.name: json.loads(path.read_text(encoding="utf-8")) for path in files}


def printed_tables(
    config: Any, directory: Path, finished: dict[str, dict[str, Any]]
) -> tuple[list[Any], list[Any]]:  # fmt: skip
    """The table of the paper, and that of the verdicts, where the sweep is of one and its jobs make reports."""
    from omegaconf import OmegaConf

    from bmae_lightning.report.paper_table import paper_table, verdict_table
    from bmae_lightning.report.printed import read_table
    from bmae_lightning.runtime.errors import BadInput

    rows = left_by_jobs(directory, ROW)
    if not rows or (finished and not any("report" in job["nodes"] for job in finished.values())):
        return [], []
    try:
        about = read_table(OmegaConf.to_container(config.paper_table))
    except BadInput:  # every job has said it
        return [], []
    stages = {name: node for name, node in config.items() if OmegaConf.is_dict(node) and "inputs" in node}
    rungs = {name: node.get("shown_as") or node.inputs.get("retriever") or name for name, node in stages.items()}
    jobs = [row | {"nodes": finished[number]["nodes"]} if number in finished else row for number, row in rows.items()]
    return [paper_table(about, jobs, rungs)], [verdict_table(about, jobs, rungs)]


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
