"""What became of the jobs of a sweep: `ledger.jsonl`, a line for each thing that happened, appended by any process.

A line has `job` (its number), `state`, `time`, and what is known by then: `overrides`, `fingerprint`, `code` (exit
code), `reason` (of a failure, one line), `seconds`, `host` and `pid` of the process that works on it. The last line of
a job counts; what it does not say is taken from the earlier ones.
"""

import json
import os
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bmae_lightning.runtime.errors import EXIT_FAILED
from bmae_lightning.runtime.files import append_text
from bmae_lightning.runtime.process import alive, locked

LEDGER = "ledger.jsonl"
PLANNED, RUNNING, DONE, FAILED, INTERRUPTED = STATES = ("not started", "running", "done", "failed", "interrupted")

KILLED = "its process ended without a word (killed?)"


class Ledger:
    """The ledger of the sweep in `directory`; several processes may add to it at a time."""

    def __init__(self, directory: str | Path) -> None:
        self.path = Path(directory) / LEDGER

    def add(self, job: int, state: str, **known: Any) -> None:
        """Append what happened to a job, now, in this process."""
        about = {"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "host": socket.gethostname(), "pid": os.getpid()}
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with locked(self.path.with_suffix(".lock"), f"{self.path}: another process writes"):
            torn = self.path.is_file() and self.path.read_bytes()[-1:] not in (b"\n", b"")
            append_text(self.path, "\n" * torn + json.dumps({"job": job, "state": state} | about | known) + "\n")

    def jobs(self) -> dict[int, dict[str, Any]]:
        """Number of a job -> all that is known of it, in order; a line that a killed process left half is no line."""
        found: dict[int, dict[str, Any]] = {}
        for line in self.path.read_text(encoding="utf-8").splitlines() if self.path.is_file() else ():
            try:
                event = json.loads(line)
            except json.JSONDecodeError:
                continue
            found.setdefault(event.pop("job"), {}).update(event)
        return dict(sorted(found.items()))

    def settle(self, own: bool = False) -> None:
        """Enter as failed what a process of this machine works on that is not there any more.

        own: whether that holds for this process too, which runs no job now.
        """
        for number, job in self.jobs().items():
            pid, here = job["pid"], job["host"] == socket.gethostname()
            if job["state"] == RUNNING and here and (not alive(pid) or (own and pid == os.getpid())):
                self.add(number, FAILED, code=EXIT_FAILED, reason=KILLED)


def exit_code(jobs: Mapping[int, Mapping[str, Any]]) -> int:
    """Of a sweep: the largest of its jobs that failed or were interrupted, at least 1 where not all are done."""
    codes = [job["code"] for job in jobs.values() if job["state"] in (FAILED, INTERRUPTED)]
    return max([*codes, int(any(job["state"] != DONE for job in jobs.values()))])
