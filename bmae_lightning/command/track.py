"""At the end of a job: one run with all that it has measured."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from bmae_lightning.command.pipeline import Pipeline
from bmae_lightning.report.tracking.about import JOB
from bmae_lightning.report.tracking.summary import track_job
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.stage import Context


def track(config: dict[str, Any], pipeline: Pipeline, hydra_cfg: DictConfig) -> None:
    """Log what a finished job has measured where `logger` says, and tell where that is."""
    fingerprint, nodes = pipeline.fingerprint(), {key: node.directory for key, node in pipeline.nodes.items()}
    context = Context(
        JOB, config["name"], Path(hydra_cfg.runtime.output_dir) / f"job-{fingerprint}", {}, pipeline.group,
        pipeline.output_dir, job=pipeline.job | {"fingerprint": fingerprint},
    )  # fmt: skip
    track_job(build(config["logger"], "logger"), context, nodes)
