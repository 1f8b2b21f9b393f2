"""Tracking by Weights & Biases: one run per stage and job, one group per experiment or sweep, offline without an
account. Under `wandb agent` the whole job is one run."""

import glob
import hashlib
import json
import os
import re
from collections.abc import Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from bmae_lightning.report.tracking.about import COMPARISON, JOB, LONGEST_NAME, config_of, key_of, name_of, tags_of
from bmae_lightning.report.tracking.lineage import made, used
from bmae_lightning.report.tracking.loggers import Tracking
from bmae_lightning.report.tracking.parts import STEP, Logged, read_parts
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.process import launched, print_once
from bmae_lightning.runtime.run_stage import distributed
from bmae_lightning.runtime.stage import Context

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

    from bmae_lightning.report.tracking.run_logger import RunLogger

ONLINE, OFFLINE, DISABLED = MODES = ("online", "offline", "disabled")
FORMER_MODES = {"dryrun": OFFLINE, "run": ONLINE}
PROJECT = "bmae_lightning"
SINGLE = "WANDB_RUN_ID"
"""It names one run, as `wandb agent` does: the job is that run, and the keys of its stages begin with their names."""
USUAL = {"silent": True, "console": "off", "init_timeout": 30, "x_transaction_log_flush_interval": 1.0}
"""Settings of W&B where no variable says otherwise; what was not flushed is lost when a job is killed."""

_open: "dict[str, RunLogger]" = {}
"""Open runs by id; that of a whole job stays open from stage to stage."""
_closed: dict[Path, Logged] = {}
"""Folder and id of runs that this process has closed -> what they hold, whose end may not be in their files yet."""
_urls: dict[str, str] = {}
"""Where the runs of this process are online, by id."""
_unreachable: list[str] = []
"""Why W&B could not be reached in this process; later stages do not wait for it again."""


class WandbTracking(Tracking):
    """`logger=wandb`. An option that is None follows the variable of W&B that means the same.

    Args:
        project, entity: where runs go; WANDB_PROJECT, WANDB_ENTITY.
        mode: `online`, `offline` or `disabled`; WANDB_MODE, else online with an account and offline without.
        tags: of every run, beside its method, collection, scale, encoder and stage; WANDB_TAGS.
        upload: whether what stages make is uploaded; otherwise W&B is told where it lies.

    Raises:
        ValueError: another mode, or tags that are no list.
    """

    def __init__(
        self, project: str | None = None, entity: str | None = None, mode: str | None = None, tags: Any = None,
        upload: bool = False,
    ) -> None:  # fmt: skip
        if mode not in (None, *MODES):
            raise ValueError(f"mode must be online, offline, disabled or null, got {mode!r}")
        if not isinstance(tags, list | None):
            raise ValueError(f"tags must be a list, as [draft], got {tags!r}")
        self.project, self.entity, self.mode, self.tags, self.upload = project, entity, mode, tags, upload

    def open(self, context: Context) -> list["Logger"]:
        if find_spec("wandb") is None:
            raise BadInput("logger=wandb needs the package wandb: pip install wandb, or use logger=csv")
        run_id = run_id_of(context)
        if (mode := self.mode or _usual_mode()) == DISABLED:
            return []
        if not (logger := _open.get(run_id)):
            folder = wandb_folder(context)
            logged = read_parts(folder, run_id).joined(_closed.get(folder / run_id))
            if context.stage == JOB and logged.next and not _single():
                return []  # the job was finished before, and its run is there
            from bmae_lightning.report.tracking.run_logger import RunLogger

            run = _init(context, OFFLINE if _unreachable else mode, self._arguments(context, run_id))
            if run is None:
                return []
            logged.next = max(logged.next, run.step)
            run.define_metric(STEP)
            run.define_metric("*", step_metric=STEP)
            logger = _open[run_id] = RunLogger(run, logged, again=context.stage == COMPARISON)
        for directory in filter(None, context.inputs.values()):
            logger.safely(used, logger.run, directory, kind="artifacts")
        if _single() and context.stage not in (JOB, COMPARISON):
            logger = logger.under(key_of(context.stage, context.arm, context.job.get("name", "")))
        for values in _lines(context.directory / "metrics.jsonl"):  # those that a killed process did not get away
            logger.log_metrics(values, int(values.pop("step")))
        return [logger]

    def close(self, context: Context, failed: bool) -> None:
        if not (logger := _open.get(run_id_of(context))):
            return
        from wandb import teardown

        if not failed and context.stage not in (JOB, COMPARISON):
            logger.safely(made, logger.run, context.directory, self.upload, kind="artifacts")
        if failed or context.stage == JOB or not _single() or _in_children(context):
            del _open[run_id_of(context)]
            _closed[wandb_folder(context) / run_id_of(context)] = logger.logged
            logger.safely(logger.run.finish, exit_code=int(failed), kind="ends")
            if _single() and _in_children(context):
                logger.safely(teardown, kind="ends")  # writes all to the file that the next process reads

    def told(self, contexts: Sequence[Context]) -> str:
        ids = dict.fromkeys(map(run_id_of, contexts))
        folder = wandb_folder(contexts[-1])
        if urls := [_urls[run_id] for run_id in ids if run_id in _urls]:
            return f"W&B: {urls[-1]}{_variables()}"
        parts = [path for run_id in ids for path in folder.glob(f"offline-run-*/{_file(run_id)}")]
        if not parts or (self.mode or _usual_mode()) == DISABLED:
            return ""
        runs = len({path.name for path in parts})
        many = f"{runs} offline run" + "s" * (runs > 1)
        return f"W&B: {many} in {folder}{_variables()}; upload: wandb sync {folder}/offline-run-*"

    def _arguments(self, context: Context, run_id: str) -> dict[str, Any]:
        """Of `wandb.init`: an option of ours before the variable, the variable before what is usual here."""
        variable = os.environ.get
        grouped = any(item.startswith("group=") for item in context.job.get("overrides", []))
        tags = variable("WANDB_TAGS", "").split(",") if self.tags is None else self.tags
        return {
            "project": project_of(self.project),
            "entity": entity_of(self.entity),
            "group": context.group if grouped else variable("WANDB_RUN_GROUP") or context.group,
            "job_type": variable("WANDB_JOB_TYPE") or _whole(context).stage,
            "name": " ".join(filter(None, [variable("WANDB_NAME"), name_of(_whole(context))]))[:LONGEST_NAME],
            "notes": variable("WANDB_NOTES") or context.job.get("command"),
            "tags": tags_of(_whole(context)) + [str(tag) for tag in tags if tag],
            "id": run_id,
            "resume": (_single() and variable("WANDB_RESUME")) or "allow",
            "dir": str(wandb_folder(context).parent),
            "config": config_of(_whole(context)),
            "reinit": "create_new",
        }


def several_jobs() -> None:
    """Before the jobs of a sweep: variables that name one run do not make one run of all of them."""
    named = [name for name in (SINGLE, "WANDB_SWEEP_ID", "WANDB_SWEEP_PARAM_PATH") if os.environ.pop(name, None)]
    if named:
        print_once(f"W&B: {', '.join(named)} not used: every job of a sweep (-m, seeds=) has runs of its own")


def run_id_of(context: Context) -> str:
    """The stage's fingerprint and the group: a continued stage continues its run. A variable may name the run.

    At most 64 characters: W&B names a logged table run-<id>-<key>, and refuses names of more than 128.
    """
    if _single():
        return os.environ[SINGLE]
    name = f"{context.directory.name}-{context.group}"
    short = re.sub(r"[^\w.-]+", "-", name)
    return short if len(short) <= 64 else f"{short[:55]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"


def project_of(option: str | None) -> str:
    """The project of runs and of their workspace."""
    return option or os.environ.get("WANDB_PROJECT") or PROJECT


def entity_of(option: str | None) -> str | None:
    """Who has the project; None for the account's own."""
    return option or os.environ.get("WANDB_ENTITY")


def wandb_folder(context: Context) -> Path:
    """Where W&B's files are: in WANDB_DIR, else beside the store."""
    return Path(os.environ.get("WANDB_DIR") or context.output_dir) / "wandb"


def _init(context: Context, mode: str, arguments: dict[str, Any]) -> Any:
    """An open run: offline where W&B cannot be reached, None where that does not work either."""
    import wandb

    known = {name: value for name, value in USUAL.items() if name in wandb.Settings.model_fields}
    settings = wandb.Settings(**{k: v for k, v in known.items() if f"WANDB_{k.upper()}" not in os.environ})
    Path(arguments["dir"], "wandb").mkdir(parents=True, exist_ok=True)
    try:
        wandb.setup(settings)  # that logging in is as silent as the run
        run = wandb.init(mode=mode, settings=settings, **arguments)
        if not run.offline:
            _urls[arguments["id"]] = run.url
        return run
    except Exception as error:  # noqa: BLE001  tracking must never stop the work
        said = " ".join(str(error).split())
        if mode == OFFLINE:
            print_once(f"W&B: not available ({said}); metrics.jsonl in {context.directory} has everything")
            return None
        print_once(f"W&B: {type(error).__name__} ({said}); logging offline instead")
        _unreachable.append(said)
        return _init(context, OFFLINE, arguments)


def _single() -> bool:
    return bool(os.environ.get(SINGLE))


def _whole(context: Context) -> Context:
    """What a run is of: the stage, or the whole job where that is one run."""
    if not _single() or context.stage == COMPARISON:
        return context
    return replace(context, stage=JOB, arm=context.job.get("name", ""), settings={})


def _in_children(context: Context) -> bool:
    """Whether stages of the job run in processes of their own, which cannot share an open run."""
    return not launched() and any(isinstance(n, dict) and distributed(n) for n in context.job["config"].values())


def _usual_mode() -> str:
    """The mode that the variables say, else online where there is an account."""
    if os.environ.get("WANDB_DISABLED", "").lower() in ("true", "1"):
        return DISABLED
    mode = os.environ.get("WANDB_MODE") or (ONLINE if has_account() else OFFLINE)
    return FORMER_MODES.get(mode, mode)


def has_account() -> bool:
    """Whether W&B can be logged in to without asking."""
    if os.environ.get("WANDB_API_KEY"):
        return True
    netrc = Path(os.environ.get("NETRC", Path.home() / ".netrc"))
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname or ""
    try:
        return host in netrc.read_text(encoding="utf-8")
    except OSError:
        return False


def _lines(path: Path) -> list[dict[str, Any]]:
    """The complete lines of a stage's metrics."""
    lines = path.read_text(encoding="utf-8").splitlines(True) if path.is_file() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def _file(run_id: str) -> str:
    return f"run-{glob.escape(run_id)}.wandb"


def _variables() -> str:
    """What was made of variables that name one run."""
    if _single():
        return f" ({SINGLE}: the job is one run, keys begin with its stages)"
    return " (WANDB_NAME stands before the name of every run)" if os.environ.get("WANDB_NAME") else ""
