"""The report for programs: one strict JSON file, written whole or not at all; it implements no equation."""

from pathlib import Path

from bmae_lightning.report.content import Report
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import write_text


def write_json(path: str | Path, report: Report) -> None:
    """Write `report` to `path`; a reader never sees half a file."""
    write_text(path, report.to_json())


def read_json(path: str | Path) -> Report:
    """Read what `write_json` wrote; raises BadInput if the file is absent or something else."""
    try:
        return Report.from_json(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror}); give the report.json of a finished run.") from error
    except ValueError as error:
        raise BadInput(f"{path}: {error}; run the report stage again to write it anew.") from error
