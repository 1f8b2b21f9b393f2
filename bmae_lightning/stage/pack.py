"""Put what a report is of into one archive: configurations, runs, scores, judgments, records, page."""

import gzip
import io
import json
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from bmae_lightning.evaluation.measure.scores import scores_path
from bmae_lightning.report.content import REPORT
from bmae_lightning.runtime.file_digest import file_digest
from bmae_lightning.runtime.files import read_json, write_json, writing
from bmae_lightning.runtime.process import print_once
from bmae_lightning.runtime.stage import Context, Stage
from bmae_lightning.stage.prepared import Prepared

FILE, CONTENTS, FORMAT = "pack.tar.gz", "pack.json", 1
OF_STAGES = ("manifest.json", "metrics.json", "record.json")
"""What is packed of every stage; the records hold the versions of libraries and code."""


@dataclass(kw_only=True)
class Pack(Stage):
    """Writes pack.tar.gz, the same files to the same bytes.

    Args:
        shown_as: stage -> what its rows are called in the report; the planner gives it to stages that collect all.
    """

    shown_as: dict[str, str] = field(default_factory=dict)

    def run(self, context: Context) -> None:
        stages = {key: path for key, path in context.inputs.items() if path is not None}
        files, runs = _files(stages), list(_runs(stages))
        for run in runs:
            directory, split = stages[run["node"]], run["split"]
            files[run["qrels"]] = Prepared(stages["prepare"]).qrels_path(split)
            files[run["run"]] = path = directory / f"run.{split}.trec"
            files[f"stages/{run['node']}/{scores_path(path).name}"] = scores_path(path)
        files = {name: path for name, path in sorted(files.items()) if path.is_file()}
        digests = {name: file_digest(path) for name, path in files.items()}
        contents = {"format": FORMAT, "runs": runs, "digests": digests}
        with writing(context.directory / FILE) as file:
            write_archive(file, files, json.dumps(contents, indent=1).encode())
        size = (context.directory / FILE).stat().st_size
        write_json(context.directory / "metrics.json", {"runs": len(runs), "files": len(files), "bytes": size})
        print_once(f"{context.title}: {context.directory / FILE} ({len(runs)} runs; evaluate pack=FILE measures them)")


def _files(stages: dict[str, Path]) -> dict[str, Path]:
    """Name in the archive -> what every stage says of itself, and the page with its tables."""
    files = {f"stages/{key}/{name}": path / name for key, path in stages.items() for name in OF_STAGES}
    report = stages["report"]
    pages = [report / REPORT, report / "report.html", *(report / "tables").iterdir()]
    return files | {f"report/{path.relative_to(report)}": path for path in pages}


def _runs(stages: dict[str, Path]) -> Iterator[dict[str, Any]]:
    """The measured runs: `node`, `split`, what they are called in the archive, and their measures."""
    for key, directory in stages.items():
        results = read_json(directory / "metrics.json") if (directory / "metrics.json").is_file() else {}
        for split, measured in results.items():
            if isinstance(measured, dict) and "mean" in measured and (directory / f"run.{split}.trec").is_file():
                names = {"run": f"stages/{key}/run.{split}.trec", "qrels": f"qrels/{split}.trec"}
                yield {"node": key, "split": split, "mean": measured["mean"]} | names


def write_archive(file: IO[bytes], files: dict[str, Path], contents: bytes) -> None:
    """A gzipped tar of the files and their contents, without times, owners and modes of this machine."""
    with gzip.GzipFile(filename="", fileobj=file, mode="wb", mtime=0) as zipped, tarfile.TarFile(
        fileobj=zipped, mode="w", format=tarfile.GNU_FORMAT
    ) as archive:  # fmt: skip
        head = tarfile.TarInfo(CONTENTS)
        head.size = len(contents)
        archive.addfile(head, io.BytesIO(contents))
        for name, path in files.items():
            member = tarfile.TarInfo(name)
            with path.open("rb") as content:
                member.size = path.stat().st_size
                archive.addfile(member, content)
