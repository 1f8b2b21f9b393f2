"""Which process of a run this is, from the environment that torchrun, Slurm or Lightning's launcher set."""

import hashlib
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


def process_rank() -> int:
    """Global rank of this process; 0 where nothing launched several."""
    for name in ("RANK", "SLURM_PROCID" if _slurm() else "RANK", "LOCAL_RANK"):
        if name in os.environ:
            return int(os.environ[name])
    return 0


def launched() -> bool:
    """Whether torchrun or srun started one process per device already, so that no further ones may be started."""
    return "TORCHELASTIC_RUN_ID" in os.environ or _slurm()


def launch_id() -> str:
    """What all processes have in common that torchrun or srun started together, and no others have."""
    torchrun = "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT", "MASTER_ADDR", "MASTER_PORT"
    slurm = "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_RESTART_COUNT"
    told = [os.environ.get(name) for name in (torchrun if "TORCHELASTIC_RUN_ID" in os.environ else slurm)]
    here = os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE")
    return hashlib.sha256(repr([*told, socket.gethostname() if here else None]).encode()).hexdigest()[:12]


def _slurm() -> bool:
    return int(os.environ.get("SLURM_NTASKS", "1")) > 1 and os.environ.get("SLURM_JOB_NAME") not in (
        "bash",
        "interactive",
    )


def print_once(text: str) -> None:
    """Print one line, on rank 0 only."""
    if process_rank() == 0:
        print(text, flush=True)


@contextmanager
def locked(path: Path, waiting: str) -> Iterator[None]:
    """Hold the lock file `path` during the block; print `waiting` where another process holds it."""
    from filelock import FileLock, Timeout

    lock = FileLock(path)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        print_once(waiting)
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def made_by_first(*paths: Path) -> bool:
    """Whether all paths exist; a process above the first waits until the first one has made them."""
    while process_rank() > 0 and not all(path.exists() for path in paths):
        time.sleep(0.1)
    return all(path.exists() for path in paths)


def wait_for_turn(*paths: Path) -> None:
    """Return once one of the paths exists, which the first of the processes started together makes."""
    while not any(path.exists() for path in paths):
        time.sleep(0.1)


def alive(pid: int) -> bool:
    """Whether a process of this machine works under this number; one that has ended and is not yet reaped does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    return True
