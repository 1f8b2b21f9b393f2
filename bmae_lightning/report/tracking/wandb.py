"""Tracking by Weights & Biases: one run per stage, one group per experiment or sweep, offline without an account."""

import hashlib
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from bmae_lightning.report.tracking.loggers import Tracking
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.process import print_once
from bmae_lightning.runtime.stage import Context

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger


class WandbTracking(Tracking):
    """`logger=wandb`.

    Args:
        project, entity: where runs go.
        mode: `online`, `offline`, or None: WANDB_MODE if set, else online with an account and offline without.
    """

    def __init__(self, project: str = "bmae_lightning", entity: str | None = None, mode: str | None = None) -> None:
        if mode not in (None, "online", "offline"):
            raise ValueError(f"mode must be online, offline or null, got {mode!r}")
        self.project, self.entity, self.mode = project, entity, mode

    def open(self, context: Context) -> list["Logger"]:
        try:
            import wandb
        except ModuleNotFoundError as error:
            raise BadInput("logger=wandb needs the package wandb: pip install wandb, or use logger=csv") from error
        from pytorch_lightning.loggers import WandbLogger

        directory = context.output_dir
        (directory / "wandb").mkdir(parents=True, exist_ok=True)
        mode = self.mode or os.environ.get("WANDB_MODE") or ("online" if _has_account() else "offline")
        arguments = {
            "project": self.project,
            "entity": self.entity,
            "group": context.group,
            "job_type": context.stage,
            "name": context.title,
            "id": _run_id(context),
            "resume": "allow",
            "dir": str(directory),
            "config": context.settings,
            "reinit": "finish_previous",
        }
        settings = wandb.Settings(silent=True, console="off", init_timeout=30)
        try:
            run = wandb.init(mode=mode, settings=settings, **arguments)
        except Exception as error:  # noqa: BLE001  tracking must never stop the work
            print_once(f"W&B: {type(error).__name__} ({str(error).splitlines()[0]}); logging offline instead")
            try:
                run = wandb.init(mode="offline", settings=settings, **arguments)
            except Exception as second:  # noqa: BLE001
                print_once(f"W&B: not available ({second}); metrics.jsonl in {context.directory} has everything")
                return []
        run.define_metric("trainer/global_step")
        run.define_metric("*", step_metric="trainer/global_step")
        if run.offline:
            print_once(
                f"W&B: offline run in {Path(run.dir).parent}; upload it with `wandb sync {Path(run.dir).parent}`"
            )
        else:
            print_once(f"W&B: {run.url}")
        return [WandbLogger(experiment=run)]

    def close(self) -> None:
        import wandb

        wandb.finish()


def _run_id(context: Context) -> str:
    """The stage's fingerprint and the group: a continued stage continues its run.

    At most 64 characters: W&B names a logged table run-<id>-<key>, and refuses names of more than 128.
    """
    name = f"{context.directory.name}-{context.group}"
    short = re.sub(r"[^\w.-]+", "-", name)
    return short if len(short) <= 64 else f"{short[:55]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def _has_account() -> bool:
    if os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    try:
        return "api.wandb.ai" in netrc.read_text(encoding="utf-8")
    except OSError:
        return False
