"""`python -m bmae_lightning`: compose the configuration, plan the stages, run them.

Only light modules are imported here, so that `--help` and `--cfg job` answer at once.
"""

import os
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from bmae_lightning.command import sweep
from bmae_lightning.command.arguments import completed, user_directories
from bmae_lightning.command.failure import MISTAKES, config_directories, mistake, refuse
from bmae_lightning.runtime.configuration import config_directory
from bmae_lightning.runtime.errors import (
    EXIT_BAD_INPUT,
    EXIT_FAILED,
    EXIT_RESUME,
    EXIT_STOPPED,
    BadInput,
    Interrupted,
    JobFailed,
)
from bmae_lightning.runtime.process import launched, process_rank

_exit_codes: list[int] = []
"""Of the jobs that this process has run."""
_told: list[str] = []
"""Mistakes of jobs that are only checked; what several of them have in common is told once."""


def job(cfg: DictConfig) -> Any:
    """Run the stages of one composed configuration.

    A mistake of the user is printed at once as one line; a job of a sweep then raises `JobFailed`.
    """
    from bmae_lightning.command.experiment import run_experiment
    from bmae_lightning.command.sweep_job import run_in_sweep

    hydra_cfg, code = HydraConfig.get(), 0
    try:
        return run_in_sweep(cfg, hydra_cfg) if in_sweep(hydra_cfg) and not cfg.check else run_experiment(cfg, hydra_cfg)
    except JobFailed as failed:  # the first process says it for all; where another one ends so, torchrun ends the first
        code = failed.args[1] if process_rank() == 0 else 0
        raise
    except (BadInput, OmegaConfBaseException) as error:
        line, code = mistake(error, hydra_cfg.overrides.task, config_directories(hydra_cfg)), EXIT_BAD_INPUT
        refuse("" if cfg.check and line in _told else line)
        _told.append(line)
    except Interrupted as error:
        if str(error):
            print(error, flush=True)
        sys.exit(EXIT_RESUME)
    finally:
        _exit_codes.append(code)


def in_sweep(hydra_cfg: DictConfig) -> bool:
    return hydra_cfg.mode == RunMode.MULTIRUN


def main() -> int:
    try:
        return max(run(), sweep.finish())
    except KeyboardInterrupt:
        print("error: stopped by Ctrl-C; run the same command again to continue", file=sys.stderr, flush=True)
        return EXIT_STOPPED
    finally:
        sweep.release()


def run() -> int:
    """Run the command; returns the largest exit code of the jobs that ran in this process."""
    wants_traceback = "HYDRA_FULL_ERROR" in os.environ
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.path.append(str(Path.cwd()))
    _told.clear()
    try:
        sys.argv[1:] = completed(sys.argv[1:])
        hydra.main(version_base="1.3", config_path=str(config_directory()), config_name="config")(job)()
    except JobFailed:  # which was told when it failed
        pass
    except SystemExit as end:
        if not (end.code == EXIT_FAILED and launched() and sweep.started()):
            raise
    except MISTAKES as error:
        if wants_traceback and not isinstance(error, BadInput):
            raise
        overrides = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
        return refuse(mistake(error, overrides, user_directories(sys.argv)))
    except Exception as error:
        if not sweep.started():
            raise
        return sweep.tell_end(error)
    return max(_exit_codes, default=0)


if __name__ == "__main__":
    sys.exit(main())
