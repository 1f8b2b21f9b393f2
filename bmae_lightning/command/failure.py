"""What is printed where something fails: one line for a mistake of the user, a traceback for anything else."""

import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from bmae_lightning.runtime.configuration import explain
from bmae_lightning.runtime.errors import EXIT_BAD_INPUT, EXIT_FAILED, BadInput, Told, one_line

MISTAKES = (BadInput, HydraException, OmegaConfBaseException)
"""What a wrong command raises."""


def mistake(error: BaseException, overrides: Sequence[str], directories: Sequence[Path]) -> str:
    """The line that tells a mistake of the user; empty where a child process has printed it.

    overrides: of the command.  directories: where else than in `conf/` YAML files were looked for.
    """
    return str(error) if isinstance(error, BadInput) else explain(error, list(overrides), directories)


def refuse(line: str) -> int:
    """Print the line of a mistake, unless it is empty; returns the exit code."""
    if line:
        print(f"error: {line}", file=sys.stderr, flush=True)
    return EXIT_BAD_INPUT


def tell(error: BaseException, hydra_cfg: DictConfig, file: Path, told: list[str]) -> tuple[int, str]:
    """Print why a job of a sweep failed.

    Args:
        hydra_cfg: of the job.
        file: where a traceback is kept.
        told: lines of mistakes that were printed, which are not printed again; this one is added.

    Returns the job's exit code and the reason in one line.
    """
    from bmae_lightning.runtime.files import write_text

    if isinstance(error, MISTAKES):
        line = mistake(error, hydra_cfg.overrides.task, config_directories(hydra_cfg))
        if line not in told:
            refuse(line)
        told.append(line)
        return EXIT_BAD_INPUT, (error.line or "its output says why") if isinstance(error, Told) else line
    told_in_full = "".join(traceback.format_exception(error))
    write_text(file, told_in_full)
    reason = one_line(error)
    print(f"{told_in_full}error: {reason} ({file})", file=sys.stderr, flush=True)
    return EXIT_FAILED, reason


def config_directories(hydra_cfg: DictConfig) -> list[Path]:
    """The directories of `-cd`."""
    return [Path(source.path) for source in hydra_cfg.runtime.config_sources if source.provider == "command-line"]
