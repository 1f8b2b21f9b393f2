"""Work in a forked process that may be killed at a chosen call; unlike a new process it need not import anything."""

import multiprocessing
import os
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


def fork(work: Callable[..., None], *arguments: Any) -> multiprocessing.Process:
    """A process that does `work(*arguments)` on one thread."""

    def run() -> None:
        import torch

        torch.set_num_threads(1)
        try:
            work(*arguments)
        except BaseException:
            traceback.print_exc()
            os._exit(1)
        os._exit(0)

    process = multiprocessing.get_context("fork").Process(target=run)
    process.start()
    return process


def codes(*processes: multiprocessing.Process) -> list[int | None]:
    """Their exit codes, negative where a signal ended one."""
    for process in processes:
        process.join(120)
    return [process.exitcode for process in processes]


def kill_before(owner: Any, name: str, calls: int) -> None:
    """Have this process killed (kill -9) in the place of the call of `owner.name` after so many."""
    act, done = getattr(owner, name), []

    def call(*arguments: Any, **options: Any) -> Any:
        done.append(None)
        if len(done) > calls:
            os.kill(os.getpid(), signal.SIGKILL)
        return act(*arguments, **options)

    setattr(owner, name, call)


def command(directory: Path, code: int, *arguments: str) -> None:
    """`python -m bmae_lightning …` in a directory, in this process; fails on another exit code."""
    from hydra.core.global_hydra import GlobalHydra

    import bmae_lightning.__main__ as program

    os.chdir(directory)
    sys.argv = ["bmae_lightning", *arguments]
    GlobalHydra.instance().clear()
    assert program.main() == code
