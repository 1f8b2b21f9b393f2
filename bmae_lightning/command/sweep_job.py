"""One job of a sweep, in whichever process a launcher runs it: it writes what becomes of it into the ledger."""

import copy
import gc
import os
import sys
import time
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from bmae_lightning.command.failure import tell
from bmae_lightning.command.job import place_in_sweep
from bmae_lightning.report.comparison import RESULT
from bmae_lightning.runtime.errors import EXIT_FAILED, EXIT_RESUME, EXIT_STOPPED, Interrupted, JobFailed
from bmae_lightning.runtime.files import read_json
from bmae_lightning.runtime.ledger import DONE, FAILED, INTERRUPTED, RUNNING, Ledger
from bmae_lightning.runtime.process import launched, process_rank

ERROR = "error.txt"
"""The traceback of a job that failed, in its directory."""
FAILED_HERE: list[int] = []
"""Jobs of the sweep that have failed in this process, which is what one above the first knows of them."""


def about(cfg: DictConfig, hydra_cfg: DictConfig) -> dict[str, Any]:
    """What the ledger tells of a job beside what becomes of it: `name` of its arm, `overrides`, `places`, `directory`,
    `collection`.

    The directory is relative to that of the sweep.
    """
    directory = os.path.relpath(hydra_cfg.runtime.output_dir, hydra_cfg.sweep.dir)
    collection = OmegaConf.select(cfg, "corpus.collection") or hydra_cfg.runtime.choices.get("corpus")
    named = {"name": cfg.name, "directory": directory, "collection": collection}
    return named | place_in_sweep(cfg, hydra_cfg)


def run_in_sweep(cfg: DictConfig, hydra_cfg: DictConfig) -> Any:
    """Run a job and write into the ledger what becomes of it; process 0 writes.

    Returns what `run_experiment` does.

    Raises:
        JobFailed: it has failed, or it does not start because it was refused already or for `fail_fast`.
        SystemExit: it was interrupted, or several processes may not be of one mind about going on.
    """
    from bmae_lightning.command.experiment import check_experiment, run_experiment

    first, number, directory = process_rank() == 0, hydra_cfg.job.num, Path(hydra_cfg.runtime.output_dir)
    ledger = Ledger(hydra_cfg.sweep.dir)
    known = ledger.jobs() if first else {}
    own = known.get(number, {})
    if own.get("state") == FAILED:  # when all jobs were checked
        raise JobFailed(own["reason"], own["code"])
    if cfg.fail_fast and (FAILED_HERE or any(job["state"] == FAILED for job in known.values())):
        raise JobFailed("not started: an earlier job has failed (fail_fast=true)", 0)

    def write(state: str, **more: Any) -> None:
        if first:
            ledger.add(number, state, **more)

    if first:
        (directory / ERROR).unlink(missing_ok=True)
    write(RUNNING, code=None, reason=None, **{} if own else about(cfg, hydra_cfg))
    started = time.monotonic()

    def seconds() -> float:
        return round((own.get("seconds") or 0) + time.monotonic() - started, 3)

    begun = False
    try:
        if launched():  # what is refused now is refused in all processes
            check_experiment(copy.deepcopy(cfg), hydra_cfg, elsewhere=False)
        begun = True
        value = run_experiment(cfg, hydra_cfg)
        result = directory / RESULT
        write(DONE, code=0, seconds=seconds(), **_fingerprint(result) if first else {})
        return value
    except Interrupted as stop:
        write(INTERRUPTED, code=EXIT_RESUME, reason=str(stop) or "asked to stop", seconds=seconds())
        if str(stop):
            print(stop, flush=True)
        sys.exit(EXIT_RESUME)
    except KeyboardInterrupt:
        write(INTERRUPTED, code=EXIT_STOPPED, reason="stopped by Ctrl-C", seconds=seconds())
        raise
    except (Exception, SystemExit) as error:
        code, reason = tell(error, hydra_cfg, directory / ERROR, [])
        write(FAILED, code=code, reason=reason, seconds=seconds())
    # Here, where the exception is gone and with its frames the tensors of the job.
    _free_memory()
    FAILED_HERE.append(number)
    if launched() and (begun or code == EXIT_FAILED):
        sys.exit(EXIT_FAILED)  # other processes of the job may wait for this one
    raise JobFailed(reason, code)


def _fingerprint(result: Path) -> dict[str, str]:
    return {"fingerprint": read_json(result)["fingerprint"]} if result.is_file() else {}


def _free_memory() -> None:
    """What a failed job has left on the device is there for the next one."""
    gc.collect()
    torch = sys.modules.get("torch")
    if torch and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
