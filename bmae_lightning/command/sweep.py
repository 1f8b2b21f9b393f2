"""A sweep from its start to its end: its directory, its ledger, all jobs checked before the first trains, one page.

`main` ends the sweep, not Hydra, which calls no callback where a job has failed.
"""

import contextlib
import copy
import io
import signal
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.hydra_config import HydraConfig
from hydra.experimental.callback import Callback
from omegaconf import DictConfig, open_dict, read_write

from bmae_lightning.command.best_trial import tell_best
from bmae_lightning.command.failure import MISTAKES, config_directories, mistake, refuse, tell
from bmae_lightning.command.sweep_directory import Sweep, make, take_directory
from bmae_lightning.report.comparison import forget_checks, keep_row, sweep_group
from bmae_lightning.runtime.errors import EXIT_BAD_INPUT, EXIT_FAILED, BadInput, JobFailed, one_line

if TYPE_CHECKING:
    from bmae_lightning.runtime.ledger import Ledger

BASIC = "hydra._internal.core_plugins.basic_sweeper.BasicSweeper"
"""The sweeper that knows all of its jobs at the start."""
ON_THIS_MACHINE = ("BasicLauncher", "JoblibLauncher", "LocalLauncher")
"""Launchers whose jobs have the devices of the process that starts them."""

_started: list[Sweep] = []
"""The sweep of this process, if it is one."""


class SweepCallback(Callback):
    """Hydra calls it; launchers hand copies of it to the processes of jobs."""

    def on_run_start(self, config: DictConfig, **_: Any) -> None:
        """Refuse a directory that cannot be made, before Hydra makes it."""
        try:
            make(Path(config.hydra.run.dir))
        except BadInput as error:
            sys.exit(refuse(str(error)))

    def on_multirun_start(self, config: DictConfig, **_: Any) -> None:
        """Give all jobs the same `group`, unless the command or the table names one, and start the sweep.

        What is raised here must end the program, and of all that Hydra catches exceptions.
        """
        from bmae_lightning.command.sweep_job import FAILED_HERE
        from bmae_lightning.report.tracking.wandb import several_jobs
        from bmae_lightning.runtime.process import process_rank

        FAILED_HERE.clear()
        several_jobs()
        if config.group is None:
            with open_dict(config.hydra.overrides):
                config.hydra.overrides.task.append(f"group='{sweep_group(list(config.hydra.overrides.task))}'")
        if config.check or process_rank() > 0:
            return
        try:
            start(config)
        except MISTAKES as error:
            overrides = config.hydra.overrides.task
            sys.exit(refuse(mistake(error, overrides, config_directories(config.hydra))))
        except Exception:
            traceback.print_exc()
            sys.exit(EXIT_FAILED)

    def on_job_start(self, config: DictConfig, **_: Any) -> None:
        """Keep what is printed for a job of a printed table, whatever becomes of the job."""
        keep_row(config)

    def on_job_end(self, config: DictConfig, job_return: Any, **_: Any) -> None:
        """Let Hydra's own sweeper go on: it would leave out the batches behind a failed job. Others hear of it."""
        from hydra.core.utils import JobStatus

        if config.hydra.sweeper._target_ == BASIC and isinstance(job_return._return_value, JobFailed):
            job_return.status, job_return.return_value = JobStatus.COMPLETED, None

    def on_run_end(self, config: DictConfig, **_: Any) -> None:
        """Print what the jobs would take (`check=true`), and remove the directory that Hydra was given for them."""
        forget_checks(config)

    on_multirun_end = on_run_end


def start(config: DictConfig) -> None:
    """Take a directory, begin the ledger, and check all jobs where they are known.

    Raises:
        BadInput: another sweep works in the directory that the command names.
        HydraException: a job cannot be composed.
    """
    from bmae_lightning.runtime.ledger import Ledger
    from bmae_lightning.runtime.process import launched

    grid = grid_of(config)
    identity = {
        "jobs": grid, "overrides": list(config.hydra.overrides.task), "config": config.hydra.job.config_name,
        "directories": list(map(str, config_directories(config.hydra))),
        "output_dir": str(Path(config.output_dir).absolute()),
    }  # fmt: skip
    sweep = take_directory(config, identity)
    _started[:] = [sweep]
    if grid is not None:
        plan_jobs(config, grid, Ledger(sweep.directory), check=not launched())


def grid_of(config: DictConfig) -> list[list[str]] | None:
    """The overrides of every job; None where the sweeper chooses jobs as it goes."""
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.global_hydra import GlobalHydra
    from hydra.core.override_parser.overrides_parser import OverridesParser

    sweeper = config.hydra.sweeper
    if sweeper._target_ != BASIC:
        return None
    arguments = [f"{key}={value}" for key, value in (sweeper.params or {}).items()] + list(config.hydra.overrides.task)
    parser = OverridesParser.create(config_loader=GlobalHydra.instance().config_loader())
    batches = BasicSweeper.split_arguments(parser.parse_overrides(arguments), sweeper.max_batch_size)
    return [overrides for batch in batches for overrides in batch]


def _composed(loader: Any, config: DictConfig, number: int, grid: list[list[str]]) -> DictConfig:
    """The configuration of a job, as a launcher composes it."""
    overrides = grid[number]
    try:
        job = loader.load_sweep_config(config, list(overrides))
    except MISTAKES as error:
        line = mistake(error, overrides, config_directories(config.hydra))
        own = " ".join(item for item in overrides if not all(item in job for job in grid))
        raise BadInput(f"job {number}{f' ({own})' if own else ''}: {line}") from error
    with read_write(job.hydra), open_dict(job.hydra):
        job.hydra.job.id = job.hydra.job.num = number
        job.hydra.runtime.output_dir = str(Path(job.hydra.sweep.dir, job.hydra.sweep.subdir).absolute())
    return job


def plan_jobs(config: DictConfig, grid: list[list[str]], ledger: "Ledger", check: bool) -> None:
    """Compose all jobs, enter them into the ledger, and, where `check` is set, refuse those that would be refused.

    A job that an earlier start of the sweep has done stays so while its fingerprint is the same.

    Raises:
        BadInput: a job cannot be composed.
    """
    from hydra.core.global_hydra import GlobalHydra

    from bmae_lightning.command.sweep_job import ERROR, about
    from bmae_lightning.runtime.ledger import DONE, FAILED, PLANNED

    loader, before = GlobalHydra.instance().config_loader(), ledger.jobs()
    jobs = [_composed(loader, config, number, grid) for number in range(len(grid))]
    for number, job in enumerate(jobs):
        keep_row(job)
        if before.get(number, {}).get("state") != DONE:
            ledger.add(number, PLANNED, code=None, reason=None, **about(job, job.hydra))
    told: list[str] = []
    for number, job in enumerate(jobs) if check else ():
        try:
            fingerprint = fingerprint_of(job)
        except Exception as error:
            code, reason = tell(error, job.hydra, Path(job.hydra.runtime.output_dir) / ERROR, told)
            ledger.add(number, FAILED, code=code, reason=reason)
        else:
            if fingerprint != before.get(number, {}).get("fingerprint"):
                ledger.add(number, PLANNED, fingerprint=fingerprint)


def fingerprint_of(job: DictConfig) -> str | None:
    """Check a job as it will be checked when it starts, which prints nothing; returns its fingerprint."""
    from bmae_lightning.command.experiment import check_experiment

    hydra, former = HydraConfig.instance(), HydraConfig.instance().cfg
    elsewhere = not job.hydra.launcher._target_.endswith(ON_THIS_MACHINE)
    hydra.set_config(job)
    try:
        cfg = copy.deepcopy(job)
        with read_write(cfg), open_dict(cfg):
            del cfg["hydra"]
        with contextlib.redirect_stdout(io.StringIO()):
            return check_experiment(cfg, HydraConfig.get(), elsewhere)
    finally:
        hydra.cfg = former


def finish() -> int:
    """End the sweep that this process has started, if it has: compare its jobs, and tell what became of them.

    Returns the exit code, that of the jobs by the ledger, whichever processes they ran in. After an interruption there
    is nothing to compare yet.
    """
    if not _started:
        return 0
    from bmae_lightning.command.job import command_of
    from bmae_lightning.report.comparison import compare_jobs, unreadable
    from bmae_lightning.runtime.ledger import FAILED, INTERRUPTED, Ledger, exit_code
    from bmae_lightning.runtime.process import launched

    if launched():  # where one process has failed, torchrun asks the others to end, and waits
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sweep = _started[0]
    ledger = Ledger(sweep.directory)
    ledger.settle(own=True)
    jobs = ledger.jobs()
    if jobs and not any(job["state"] == INTERRUPTED for job in jobs.values()):
        for number, reason in unreadable(sweep.directory, jobs).items():
            ledger.add(number, FAILED, code=EXIT_BAD_INPUT, reason=reason)
        jobs, command = ledger.jobs(), command_of(sweep.config.hydra, ("group='",), ("-m",))
        try:
            compare_jobs(sweep.directory, sweep.config, jobs, command)
        except MISTAKES as error:
            overrides = sweep.config.hydra.overrides.task
            return max(exit_code(jobs), refuse(mistake(error, overrides, config_directories(sweep.config.hydra))))
    tell_best(sweep.directory)
    return exit_code(jobs)


def tell_end(error: Exception) -> int:
    """Print what has ended the sweep beside its jobs: one line where the ledger says that jobs have failed.

    Launchers raise where a process of theirs was killed, and a search for the best job where there is none.

    Returns the exit code.
    """
    from bmae_lightning.runtime.ledger import DONE, PLANNED, Ledger

    ledger = Ledger(_started[0].directory)
    ledger.settle(own=True)
    if all(job["state"] in (DONE, PLANNED) for job in ledger.jobs().values()):
        traceback.print_exception(error)
    else:
        print(f"error: the sweep has ended before its last job: {one_line(error)}", file=sys.stderr, flush=True)
    return EXIT_FAILED


def started() -> bool:
    """Whether this process has started a sweep, which is not yet released."""
    return bool(_started)


def release() -> None:
    """Give the directory of the sweep free."""
    while _started:
        _started.pop().lock.release()
