"""What a stage took: `record.json` in its directory, with the time, device, memory and energy of every attempt at it.

An attempt stands there from its start and is completed when it ends, however it ends; a killed one has no end. No
record is part of a fingerprint.
"""

import platform
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from bmae_lightning.runtime.code_version import code_commit, library_versions
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import read_json, write_json
from bmae_lightning.runtime.machine import device_name, gpus_of, watch_energy, watch_memory
from bmae_lightning.runtime.plain import plain, restored

RECORD = "record.json"
REWRITTEN = ("manifest.json", "lock", "turn-")
"""What the names of files begin with that are written before an attempt begins."""


@dataclass(frozen=True)
class Attempt:
    """One attempt to run a stage.

    Attributes:
        started, ended: local time as ISO 8601; None where it was killed or still runs.
        seconds: that it took; of a killed one, until the last file that it wrote, once there is a further attempt.
        host: the machine of the first process.
        device: name of the GPU, or of the processor with the threads of a process.
        devices: how many there are, over all machines.
        gpu: whether they are GPUs.
        peak_gib: the most memory that the first process took, on a GPU if it has one; None where it is not known.
        watt_hours: that the GPUs drew meanwhile, None where they do not tell or are on several machines.
    """

    started: str
    ended: str | None = None
    seconds: float | None = None
    host: str = ""
    device: str = ""
    devices: int = 1
    gpu: bool = False
    peak_gib: float | None = None
    watt_hours: float | None = None

    @property
    def device_hours(self) -> float:
        return (self.seconds or 0.0) * self.devices / 3600

    @property
    def place(self) -> str:
        """The devices in words."""
        return f"{self.devices} x {self.device}" if self.devices > 1 else self.device


@dataclass(frozen=True)
class Record:
    """What all attempts at a stage took together, and the code of the last one; empty where nothing was recorded.

    versions: package -> version.  commit: of the code, None where it did not run from a checkout.
    """

    attempts: list[Attempt] = field(default_factory=list)
    versions: dict[str, str] = field(default_factory=dict)
    commit: str | None = None

    @property
    def complete(self) -> bool:
        """Whether the times are all that was spent: False where an attempt was killed."""
        return bool(self.attempts) and all(attempt.ended for attempt in self.attempts)

    @property
    def started(self) -> str:
        return self.attempts[0].started if self.attempts else ""

    @property
    def seconds(self) -> float:
        return sum(attempt.seconds or 0.0 for attempt in self.attempts)

    @property
    def device_hours(self) -> float:
        return sum(attempt.device_hours for attempt in self.attempts)


@contextmanager
def recorded(directory: Path, config: dict[str, Any]) -> Iterator[None]:
    """Add an attempt to the record of the stage in `directory`; called by its first process.

    config: of the stage, whose trainer says on which devices it runs.
    """
    trainer = config.get("trainer") or config.get("processes") or {}
    gpus, machines = gpus_of(trainer), int(trainer.get("num_nodes", 1))
    devices = len(gpus) if gpus else _processes(trainer.get("devices", 1))
    earlier, path = [_lived(directory, attempt) for attempt in read_record(directory).attempts], directory / RECORD
    peak, energy = watch_memory(gpus), watch_energy(gpus if machines == 1 else [])
    since, attempt = time.monotonic(), Attempt(_now(), host=platform.node(), devices=devices * machines, gpu=bool(gpus))

    def write(**known: Any) -> None:
        record = Record(
            [*earlier, replace(attempt, device=device_name(gpus), **known)], library_versions(), code_commit()
        )
        write_json(path, plain(record))

    write()
    try:
        yield
    finally:
        write(ended=_now(), seconds=time.monotonic() - since, peak_gib=peak(), watt_hours=energy())


def read_record(directory: Path) -> Record:
    """The record of a stage, an empty one where none was written.

    Raises:
        BadInput: it is damaged.
    """
    path = directory / RECORD
    if not path.is_file():
        return Record()
    try:
        return restored(Record, read_json(path))
    except (TypeError, AttributeError) as error:
        raise BadInput(f"{path}: is no record of a stage ({error}); delete it, the stage is kept") from error


def _lived(directory: Path, attempt: Attempt) -> Attempt:
    """A killed attempt with the time until the last file that it wrote, which is no less than what is known of it."""
    if attempt.seconds is not None:
        return attempt
    files = (path for path in directory.rglob("*") if path.is_file() and not path.name.startswith(REWRITTEN))
    last = max((path.stat().st_mtime for path in files), default=0.0)
    return replace(attempt, seconds=max(0.0, last - datetime.fromisoformat(attempt.started).timestamp()))


def _processes(devices: Any) -> int:
    """How many processes a trainer starts on processors."""
    return int(devices) if str(devices).isdigit() else 1


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S%z")
