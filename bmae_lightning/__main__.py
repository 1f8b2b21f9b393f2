"""`python -m bmae_lightning`: compose the configuration, plan the stages, run them.

Only light modules are imported here, so that `--help` and `--cfg job` answer at once.
"""

import os
import sys
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from bmae_lightning.command.arguments import completed, user_directories
from bmae_lightning.runtime.configuration import config_directory, explain
from bmae_lightning.runtime.errors import EXIT_BAD_INPUT, EXIT_RESUME, BadInput, Interrupted

_exit_codes: list[int] = []
"""One per job of this command; a failed job of a sweep does not stop the others."""
_told: list[str] = []
"""Mistakes of its jobs; what several jobs have in common is told once where they are only checked."""


def job(cfg: DictConfig) -> float | None:
    """Run the stages of one composed configuration; a mistake of the user is printed at once as one line."""
    from bmae_lightning.command.experiment import run_experiment

    try:
        optimized = run_experiment(cfg, HydraConfig.get())
        _exit_codes.append(0)
        return optimized
    except (BadInput, OmegaConfBaseException) as error:
        told = cfg.check and str(error) in _told
        _told.append(str(error))
        _exit_codes.append(EXIT_BAD_INPUT if told else _refuse(error))
    except Interrupted as error:
        if str(error):
            print(error, flush=True)
        sys.exit(EXIT_RESUME)
    return None


def _refuse(error: Exception) -> int:
    """Print a mistake of the user as one line, unless a child process has printed it; returns the exit code."""
    if not isinstance(error, BadInput):
        overrides = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
        print(f"error: {explain(error, overrides, user_directories(sys.argv))}", file=sys.stderr, flush=True)
    elif str(error):
        print(f"error: {error}", file=sys.stderr, flush=True)
    return EXIT_BAD_INPUT


def main() -> Any:
    wants_traceback = "HYDRA_FULL_ERROR" in os.environ
    os.environ["HYDRA_FULL_ERROR"] = "1"
    sys.path.append(str(Path.cwd()))
    _told.clear()
    try:
        sys.argv[1:] = completed(sys.argv[1:])
        hydra.main(version_base="1.3", config_path=str(config_directory()), config_name="config")(job)()
    except (BadInput, HydraException, OmegaConfBaseException) as error:
        if wants_traceback and not isinstance(error, BadInput):
            raise
        return _refuse(error)
    except KeyboardInterrupt:
        print("error: stopped by Ctrl-C; run the same command again to continue", file=sys.stderr, flush=True)
        return 130
    return max(_exit_codes, default=0)


if __name__ == "__main__":
    sys.exit(main())
