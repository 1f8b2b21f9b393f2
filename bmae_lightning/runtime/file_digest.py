"""SHA-256 of a file; that of a large one is remembered, because every command asks for it and gigabytes take seconds.

What is remembered lies in the user's cache directory and holds as long as size and time of change stay.
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path

from bmae_lightning.runtime.files import write_json

LARGE = 2**26
"""Bytes from which a digest is remembered."""


def file_digest(path: Path) -> str:
    """64 hexadecimal digits. Raises OSError for a file that cannot be read."""
    state = path.stat()
    if state.st_size < LARGE:
        return _read(path)
    memory = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bmae_lightning" / "digests.json"
    key = f"{path.resolve()} {state.st_size} {state.st_mtime_ns}"
    known = {}
    with contextlib.suppress(OSError, ValueError):
        known = json.loads(memory.read_text(encoding="utf-8"))
    if key not in known:
        known[key] = _read(path)
        with contextlib.suppress(OSError):  # no home, or a full one: it is read again next time
            write_json(memory, known)
    return known[key]


def _read(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
