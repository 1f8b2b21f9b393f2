"""The workspace of a project in W&B: what was varied against what was measured, measures by method, training."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from pathlib import Path
from typing import Any

from bmae_lightning.report.tracking.about import facts_of
from bmae_lightning.report.tracking.parts import STEP
from bmae_lightning.report.tracking.summary import headline_measures, varying
from bmae_lightning.report.tracking.wandb import entity_of, has_account, project_of
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import read_json, write_json
from bmae_lightning.runtime.process import print_once

USUAL = ("method", "encoder", "seed")
"""Axes where no option varies."""
TRAINING = {
    "Losses": {"loss": "loss$", "parts of the loss": "loss/"},
    "Is the bottleneck used?": {
        "the decoder's loss with the true vector, another one, zeros": "bottleneck/",
        "which loss moves the encoder": "gradient_share/", "how much of the masks is function words": "function_words/",
    },
    "Looks during fine-tuning": {"validation": "validation/"},
}  # fmt: skip
"""Section -> title of a panel -> what the keys of its lines begin with, behind the name of a stage if that is there."""

Job = Mapping[str, Any]


@dataclass(kw_only=True)
class Dashboard:
    """Writes the workspace of the jobs that are finished, and loads it where it can.

    Args:
        title: of the workspace.
        project, entity: as of `logger=wandb`.
    """

    title: str
    project: str | None = None
    entity: str | None = None

    def run(self, output_dir: Path) -> None:
        """Write wandb/dashboard.json, and send it to W&B where there are an account and the package for it.

        Raises:
            BadInput: no job is finished there.
        """
        jobs = finished_jobs(output_dir)
        if not jobs:
            raise BadInput(f"no job is finished in {output_dir}: run one first, or set output_dir=DIR")
        path, view = output_dir / "wandb" / "dashboard.json", self.view(jobs)
        write_json(path, view)
        print_once(f"dashboard: {path} ({len(jobs)} jobs, axes: {', '.join(axes(jobs))})")
        if not has_account():
            print_once("dashboard: with an account (wandb login) and wandb-workspaces the same command loads it")
            return
        try:
            print_once(f"dashboard: {_load(view)}")
        except ModuleNotFoundError:
            print_once("dashboard: pip install wandb-workspaces, and the same command loads it")
        except Exception as error:  # noqa: BLE001  the file is there, whatever the network does
            print_once(f"dashboard: W&B does not take it ({' '.join(str(error).split())}); the file stays")

    def view(self, jobs: Sequence[Job]) -> dict[str, Any]:
        """The workspace as W&B keeps it: class `View` of wandb_workspaces.workspaces.internal."""
        names, measures = axes(jobs), headline_measures(jobs)
        accessors = [{"accessor": f"config:{path}", "displayName": name} for name, path in names.items()]
        parallel = [
            _panel("Parallel Coordinates Plot", chartTitle=name, columns=[*accessors, {"accessor": f"summary:{name}"}])
            for name in measures
        ]
        bars = [
            _panel("Bar Chart", chartTitle=name, metrics=[name], groupBy="method.value", aggregate=True)
            for name in measures
        ]
        lines = {title: [_lines(*item) for item in panels.items()] for title, panels in TRAINING.items()}
        sections = {"What was varied": parallel, "Measures by method": bars} | lines
        panels = [{"name": name, "isOpen": True, "panels": of} for name, of in sections.items()]
        section = {"panelBankConfig": {"sections": panels}, "panelBankSectionConfig": {}, "customRunColors": {}}
        about = {"entity": entity_of(self.entity) or "", "project": project_of(self.project), "displayName": self.title}
        return about | {"name": "", "id": "", "spec": {"section": section}}


def finished_jobs(output_dir: Path) -> list[Job]:
    """What the jobs have left that are finished, single ones and those of sweeps."""
    places = (path for glob in ("runs/*/result.json", "multirun/*/*/result.json") for path in output_dir.glob(glob))
    return [job for job in map(read_json, sorted(places)) if job.get("job")]


def axes(jobs: Iterable[Job]) -> dict[str, str]:
    """What varies among the jobs -> where W&B has it in the configuration of a run; else what usually does."""
    about = [job["job"] for job in jobs]
    facts = [facts_of(job) for job in about]
    flat = varying(facts) or [*USUAL, *(key for key in facts[0] if key.endswith("/rate"))]
    found = {key: (f"{key}.value", [fact.get(key) for fact in facts]) for key in flat}
    typed = (item.lstrip("+").partition("=")[0] for job in about for item in job["overrides"])
    for key in dict.fromkeys(typed):
        values = [_option(job["config"], key) for job in about]
        if len(set(map(str, values))) > 1 and values not in (known for _, known in found.values()):
            found[key] = f"config.value.{key}", values
    return {key: path for key, (path, _) in found.items()}


def _option(config: Mapping[str, Any], key: str) -> Any:
    """A plain value of a resolved configuration by its dotted key, None where there is none."""
    found = reduce(lambda node, name: node.get(name) if isinstance(node, dict) else None, key.split("."), config)
    return None if isinstance(found, dict | list) else found


def _panel(kind: str, **config: Any) -> dict[str, Any]:
    name = hashlib.sha256(f"{kind} {config}".encode()).hexdigest()[:11]
    return {"__id__": name, "viewType": kind, "config": config}


def _lines(title: str, begins: str) -> dict[str, Any]:
    pattern = f"^([^/]+/)?{begins}"
    return _panel(
        "Run History Line Plot", chartTitle=title, xAxis=STEP, metrics=[], metricRegex=pattern, useMetricRegex=True
    )


def _load(view: dict[str, Any]) -> str:
    """Save the workspace in W&B; returns where it is."""
    import wandb
    from wandb_workspaces.workspaces import Workspace, internal

    entity = view["entity"] or wandb.Api().default_entity
    return Workspace._from_model(internal.View.model_validate(view | {"entity": entity})).save().url
