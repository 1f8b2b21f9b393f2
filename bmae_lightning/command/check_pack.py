"""Measure the runs of an archive of `stage=[pack]` again, and say whether its numbers are theirs."""

import contextlib
import hashlib
import json
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath
from typing import Any

from bmae_lightning.evaluation.measure.ranking import by_answers, evaluate
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import writing
from bmae_lightning.runtime.table import Column, Table, print_tables, print_text
from bmae_lightning.stage.pack import CONTENTS, FORMAT

YES, NO, NOT_MEASURED = "yes", "no", "not measured"
TOLERANCE = 1e-9
"""By which sums of floats may differ between versions of libraries."""


def check_pack(path: str) -> Table:
    """Print every measure of every run as packed and as measured now.

    Raises:
        BadInput: the file is no such archive, a file in it is damaged or named as none may be, or a value differs.
    """
    with tempfile.TemporaryDirectory() as temporary:
        contents = _unpacked(path, Path(temporary))
        rows = [row for run in contents["runs"] for row in _measured(run, Path(temporary))]
    columns = ["run", "split", "measure", Column("packed", ".4f"), Column("measured now", ".4f"), "equal"]
    table = Table(f"{Path(path).name}: {len(contents['runs'])} runs", columns, rows)
    print_tables([table])
    counts = {state: sum(row[-1] == state for row in rows) for state in (YES, NO, NOT_MEASURED)}
    if counts[NO]:
        raise BadInput(f"{path}: {counts[NO]} of {len(rows)} values are not those of the runs; do not rely on it")
    more = f"; {counts[NOT_MEASURED]} need texts or code of their own" if counts[NOT_MEASURED] else ""
    print_text(f"{counts[YES]} of {len(rows)} values are those of the runs{more}\n")
    return table


def _measured(run: dict[str, Any], root: Path) -> list[list[Any]]:
    """A row for each measure of a run."""
    found: dict[str, float] = {}
    for name in run["mean"]:
        with contextlib.suppress(BadInput):  # a measure of one's own
            if not by_answers(name):
                found |= evaluate(root / run["qrels"], root / run["run"], [name]).mean

    def state(name: str) -> str:
        if name not in found:
            return NOT_MEASURED
        return YES if abs(found[name] - run["mean"][name]) <= TOLERANCE else NO

    return [
        [run["node"], run["split"], name, packed, found.get(name), state(name)] for name, packed in run["mean"].items()
    ]


def _unpacked(path: str, root: Path) -> dict[str, Any]:
    """Write the judgments and runs of an archive below `root`; returns its contents.

    Raises:
        BadInput: as for `check_pack`.
    """
    digests = {}
    try:
        with tarfile.open(path, mode="r|gz") as archive:
            for member in archive:
                name = PurePosixPath(member.name)
                if not member.isfile() or name.is_absolute() or ".." in name.parts:
                    raise BadInput(f"{path}: it holds {member.name!r}, which no pack does; nothing of it is used")
                with writing(root / name) as file:
                    shutil.copyfileobj(archive.extractfile(member), file)
                with (root / name).open("rb") as file:
                    digests[member.name] = hashlib.file_digest(file, "sha256").hexdigest()
        contents = json.loads((root / CONTENTS).read_text(encoding="utf-8"))
    except (OSError, EOFError, zlib.error, tarfile.TarError, ValueError) as error:
        raise BadInput(f"{path}: cannot be read as an archive of stage=[pack] ({error})") from error
    if not isinstance(contents, dict) or contents.get("format") != FORMAT:
        raise BadInput(f"{path}: packed by another version, not in format {FORMAT}; pack it again with this one")
    if wrong := [name for name, digest in contents["digests"].items() if digests.get(name) != digest]:
        raise BadInput(f"{path}: {wrong[0]} is missing or not what was packed; copy or download the archive again")
    return contents
