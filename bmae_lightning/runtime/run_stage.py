"""Run one stage from its manifest: in this process, or as `python -m bmae_lightning.runtime.run_stage MANIFEST`.

The second form is how stages on several devices run: Lightning starts its other ranks by repeating that command, which
is one stage of one job and never a sweep.
"""

import errno
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import Any

from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import EXIT_BAD_INPUT, EXIT_RESUME, BadInput, Interrupted, Told, one_line
from bmae_lightning.runtime.files import read_json, remove_leftovers, write_json, write_text
from bmae_lightning.runtime.fingerprint import FORMAT
from bmae_lightning.runtime.process import launch_id, launched, locked, print_once, process_rank, wait_for_turn
from bmae_lightning.runtime.record import recorded
from bmae_lightning.runtime.stage import Context

MANIFEST = "manifest.json"
ERROR = "error.txt"
"""Why the stage failed where it ran in a process of its own, in one line."""
DONE = "done"
"""Written last into the directory of a stage."""


def write_manifest(
    directory: Path, fingerprint: str, context: dict[str, Any], config: dict[str, Any], **more: Any
) -> Path:
    """Write what `run_stage` reads into the stage's directory, unless it is done; `more` is kept beside it.

    Waits while another job works there. Returns the file.
    """
    manifest = directory / MANIFEST
    content = {"format": FORMAT, "fingerprint": fingerprint, "context": context, "config": config}
    with _full_disk_told(context.get("stage", ""), directory), _alone(directory):
        if not (directory / DONE).is_file():
            write_json(manifest, content | more)
    return manifest


def _alone(directory: Path) -> AbstractContextManager[None]:
    """Hold the lock of a stage's directory."""
    return locked(directory / "lock", f"another process works in {directory}; waiting for it")


def count_former(store: Path) -> int:
    """How many stages in a store were written by a version with other formats; they are left alone."""
    return sum(read_json(manifest).get("format") != FORMAT for manifest in store.glob(f"*/{MANIFEST}"))


def read_manifest(manifest: Path) -> tuple[Context, dict[str, Any]]:
    """The context and the resolved configuration that the pipeline wrote before the stage started."""
    content = read_json(manifest)
    context = content["context"]
    inputs = {role: Path(path) if path else None for role, path in context["inputs"].items()}
    paths = {"directory": Path(context["directory"]), "inputs": inputs, "output_dir": Path(context["output_dir"])}
    return Context(**(context | paths), settings=content["config"]), content["config"]


def run_stage(manifest: Path) -> None:
    """Build and run the stage, and mark it as done, unless it is; one job at a time works in its directory.

    The processes that a launcher started together share a stage: the others begin it when the first one holds the lock.

    Raises:
        BadInput: a mistake of the user, a full disk included.
        Interrupted: the stage saved its state because it was asked to stop.
    """
    context, config = read_manifest(manifest)
    first, done, turn = process_rank() == 0, context.directory / DONE, context.directory / f"turn-{launch_id()}"
    with _full_disk_told(context.title, context.directory), _alone(context.directory) if first else nullcontext():
        if launched() and not first:
            wait_for_turn(turn, done)
        if done.is_file():
            return
        if first:
            remove_leftovers(context.directory)
            if launched():
                write_json(turn, {})
        stage = build(config, context.stage)
        with recorded(context.directory, config) if first else nullcontext():
            stage.run(context)
        if first:
            _finish(context.directory)


@contextmanager
def _full_disk_told(title: str, directory: Path) -> Iterator[None]:
    """Raise BadInput where the block ended because the disk is full."""
    try:
        yield
    except Exception as error:
        if full := disk_full(error):
            raise BadInput(
                f"disk full while {title} wrote to {directory} ({full}): free space or set output_dir=DIR, then run "
                "the same command again; finished stages are kept"
            ) from error
        raise


def _finish(directory: Path) -> None:
    """Mark a stage as done."""
    write_json(directory / DONE, {"finished": time.strftime("%Y-%m-%dT%H:%M:%S%z")})
    for turn in directory.glob("turn-*"):
        turn.unlink(missing_ok=True)


def distributed(config: dict[str, Any]) -> bool:
    """Whether a stage of this configuration runs on several devices."""
    trainer = config.get("trainer") or {}
    one_device = trainer.get("devices", 1) in (1, "1") and trainer.get("num_nodes", 1) == 1
    return bool(trainer) and (not one_device or trainer.get("strategy", "auto") != "auto")


def run_here_or_in_child(manifest: Path, config: dict[str, Any]) -> None:
    """Run a stage here, or, if it uses several devices and no launcher made their processes, in a child process.

    SIGTERM is handed on to the child.

    Raises:
        BadInput, Interrupted: as `run_stage`; without a message where the child has printed it.
    """
    if not distributed(config) or launched():
        run_stage(manifest)
        return
    child = subprocess.Popen([sys.executable, "-m", "bmae_lightning.runtime.run_stage", str(manifest)])
    previous = signal.signal(signal.SIGTERM, lambda *_: child.send_signal(signal.SIGTERM))
    try:
        code = child.wait()
    except KeyboardInterrupt:
        child.wait()
        raise
    finally:
        signal.signal(signal.SIGTERM, previous)
    if code == EXIT_RESUME:
        raise Interrupted("")
    if code == EXIT_BAD_INPUT:
        raise Told(_said(manifest))
    if code:
        said = f"{_said(manifest)}; its output above says where".removeprefix("; ")
        raise BadInput(f"the process of {manifest.parent.name} ended with code {code}: {said}")


def _said(manifest: Path) -> str:
    """What the process of a stage has left as the reason of its failure, in one line."""
    file = manifest.with_name(ERROR)
    return file.read_text(encoding="utf-8") if file.is_file() else ""


def disk_full(error: BaseException | None) -> str | None:
    """The system's words if `error`, or what caused it, is a full disk, an exhausted quota or a file-size limit."""
    while error is not None:
        for number in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            if isinstance(error, OSError) and error.errno == number or f"(os error {number})" in str(error):
                return os.strerror(number)
        error = error.__cause__ or error.__context__
    return None


def main() -> int:
    manifest = Path(sys.argv[1])
    file = manifest.with_name(ERROR)
    try:
        if process_rank() == 0:
            file.unlink(missing_ok=True)
        run_stage(manifest)
    except BadInput as error:
        if process_rank() == 0:
            write_text(file, str(error))
            print(f"error: {error}", file=sys.stderr, flush=True)
        return EXIT_BAD_INPUT
    except Interrupted as error:
        print_once(str(error))
        return EXIT_RESUME
    except Exception as error:
        if process_rank() == 0:
            write_text(file, one_line(error))
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
