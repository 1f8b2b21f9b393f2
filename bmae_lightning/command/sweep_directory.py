"""Where a sweep lies: in the directory of the newest earlier sweep of the same jobs, or in a new one, under a lock."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hydra.core.override_parser.types import Quote, QuotedString
from omegaconf import DictConfig, open_dict, read_write

from bmae_lightning.runtime.errors import BadInput

if TYPE_CHECKING:
    from filelock import FileLock

IDENTITY, LOCK, OVERRIDE = "sweep.json", "sweep.lock", "hydra.sweep.dir="
MOST = 100
"""Directories of one name that are tried."""


@dataclass
class Sweep:
    """A sweep that this process has started.

    lock: held until its end.  config: Hydra's, of the sweep.
    """

    directory: Path
    lock: "FileLock"
    config: DictConfig


def take_directory(config: DictConfig, identity: dict[str, Any]) -> Sweep:
    """Lock a directory for the sweep, which is written into its configuration and that of its jobs.

    identity: what is the same when the command is started again; `jobs` is None where they are not known, and then the
    sweep begins anew.

    Raises:
        BadInput: the command names the directory, and another sweep works there; or it cannot be made.
    """
    from filelock import FileLock, Timeout

    from bmae_lightning.runtime.files import write_json
    from bmae_lightning.runtime.ledger import LEDGER, Ledger

    fresh = Path(config.hydra.sweep.dir).absolute()
    given = any(item.startswith(OVERRIDE) for item in config.hydra.overrides.hydra)
    for directory in [fresh] if given else _places(fresh, identity):
        make(directory)
        lock = FileLock(directory / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        found = _identity_of(directory)
        same = found == identity and identity["jobs"] is not None
        if found and not same and not given:
            lock.release()
            continue
        if same:
            print(f"the sweep in {directory} is continued", flush=True)
            Ledger(directory).settle()
        else:
            (directory / LEDGER).unlink(missing_ok=True)
        write_json(directory / IDENTITY, identity)
        with read_write(config.hydra), open_dict(config.hydra):
            config.hydra.sweep.dir = str(directory)
            if not given:
                text = str(directory).replace("${", "\\${")
                config.hydra.overrides.hydra.append(OVERRIDE + QuotedString(text, Quote.single).with_quotes())
        return Sweep(directory, lock, config)
    raise BadInput(f"{OVERRIDE}{fresh}: another sweep works there; name another directory, or none")


def make(directory: Path) -> None:
    """Make the directory of a run or a sweep. Raises BadInput where that cannot be."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise BadInput(f"{directory} cannot be made ({error.strerror}): set output_dir=DIR") from error


def _places(fresh: Path, identity: dict[str, Any]) -> list[Path]:
    """The directory of the newest earlier sweep of this identity, then those that may be new."""
    files = sorted(fresh.parent.glob(f"*/{IDENTITY}"), key=lambda file: file.stat().st_mtime_ns, reverse=True)
    earlier = [file.parent for file in files if identity["jobs"] is not None and _identity_of(file.parent) == identity]
    return [*earlier[:1], fresh, *(fresh.with_name(f"{fresh.name}_{number}") for number in range(2, MOST))]


def _identity_of(directory: Path) -> dict[str, Any] | None:
    """What a sweep has left as its identity, None where there is none."""
    file = directory / IDENTITY
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else None
