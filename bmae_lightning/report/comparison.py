"""After a sweep: one table and one page over all of its jobs."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.experimental.callback import Callback

if TYPE_CHECKING:
    from bmae_lightning.report.content import Diagnosis

JUDGED = ("bm25", "evaluate")
"""Stages that measure an arm."""


class Comparison(Callback):
    """Hydra callback; reads the `result.json` of every job of a sweep."""

    def on_multirun_end(self, config: Any, **_: Any) -> None:
        """Write report.html and report.json into the sweep's directory and print the table."""
        from bmae_lightning.rank import rank

        directory = Path(config.hydra.sweep.dir)
        files = sorted(directory.glob("*/result.json"), key=lambda path: int(path.parent.name))
        if rank() == 0 and len(files) > 1:
            compare([json.loads(path.read_text(encoding="utf-8")) for path in files], directory)


def compare(jobs: list[dict[str, Any]], directory: Path) -> None:
    """One report over jobs; an arm that several jobs share (BM25, no pre-training) stands once.

    Args:
        jobs: `overrides` and `nodes` (stage -> directory) of every finished job.
        directory: where report.html and report.json go.
    """
    import dataclasses

    from bmae_lightning.report.content import Report, arm_name
    from bmae_lightning.report.machine import read_json, write_json
    from bmae_lightning.report.page import write_html
    from bmae_lightning.report.table import print_report

    common = set.intersection(*(set(job["overrides"]) for job in jobs))
    made = [
        {arm_name(*key.partition("@")[::2]): path for key, path in job["nodes"].items() if key.startswith(JUDGED)}
        for job in jobs
    ]
    trained = {path for job in jobs for key, path in job["nodes"].items() if key.startswith("pretrain@")}
    arms, curves, diagnoses, settings, seen, subtitle = [], [], [], {}, set(), ""
    for job, directories in zip(jobs, made, strict=True):
        if "report" not in job["nodes"]:
            continue
        part = read_json(Path(job["nodes"]["report"]) / "report.json")
        subtitle = part.subtitle
        own = [item for item in job["overrides"] if item not in common and not item.startswith("+experiment=")]
        differing = " ".join(own)
        for arm in part.arms:
            if directories[arm.name] in seen:
                continue
            seen.add(directories[arm.name])
            shared = len({other.get(arm.name) for other in made}) == 1
            arms.append(arm if shared else dataclasses.replace(arm, name=f"{arm.name} {differing}".strip()))
        curves += [
            dataclasses.replace(curve, title=f"{curve.title} {differing}".strip())
            for curve in part.curves
            if curve.title.startswith("Pre-training")
        ]
        for found in part.diagnoses:  # its figures are on the page of the job
            mine = job["nodes"].get(f"pretrain@{found.arm}", job["nodes"]["report"])
            if mine not in seen:
                seen.add(mine)
                name = found.arm if len(trained) == 1 else f"{found.arm} {differing}".strip()
                diagnoses.append(dataclasses.replace(found, arm=name, curves=[]))
        settings[" ".join(item for item in job["overrides"] if item not in common)] = job["nodes"]["report"]
    if not arms:
        return
    report = Report("comparison", subtitle, arms, curves, [], settings, [], [merge(diagnoses)] if diagnoses else [])
    write_json(directory / "report.json", report)
    write_html(directory / "report.html", report)
    print_report(report, directory / "report.html")


def merge(diagnoses: list["Diagnosis"]) -> "Diagnosis":
    """One table over several runs; what is true of the texts stands once."""
    from bmae_lightning.report.content import Diagnosis

    rows = [[f"{part.arm}: {name}", *cells] for part in diagnoses for name, *cells in part.rows]
    texts = {tuple(row): None for part in diagnoses for row in part.texts}
    steps = {part.when: None for part in diagnoses}
    return Diagnosis("all jobs", ", ".join(steps), [], diagnoses[0].columns, rows, [list(row) for row in texts])
