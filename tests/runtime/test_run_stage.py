"""A stage from its manifest: once, by one process at a time, with a code for the shell."""

import errno
import os
import sys
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest

from bmae_lightning.runtime import process
from bmae_lightning.runtime import run_stage as module
from bmae_lightning.runtime.errors import EXIT_BAD_INPUT, EXIT_RESUME, BadInput, Interrupted
from bmae_lightning.runtime.files import write_json
from bmae_lightning.runtime.process import locked
from bmae_lightning.runtime.run_stage import (
    count_former,
    disk_full,
    distributed,
    main,
    read_manifest,
    run_here_or_in_child,
    run_stage,
    write_manifest,
)  # fmt: skip
from bmae_lightning.runtime.stage import Stage

FAILURES = {
    "": None, "bad": BadInput("corpus.path=x does not exist"), "stop": Interrupted("continue later"),
    "full": OSError(errno.ENOSPC, "No space left on device"), "bug": ZeroDivisionError("x"),
}  # fmt: skip


@dataclass(kw_only=True)
class Says(Stage):
    """Writes down what it was told, then fails as asked."""

    words: str
    failure: str = ""

    def run(self, context):
        with (context.directory / "said").open("a") as file:
            file.write(f"{self.words} {context.title} {context.input('corpus').name}\n")
        if self.failure:
            raise FAILURES[self.failure]


@pytest.fixture
def manifest(tmp_path):
    """manifest(**options) of a stage that is to run."""

    def make(**options):
        directory = tmp_path / "says-1"
        directory.mkdir(exist_ok=True)
        inputs = {"corpus": str(tmp_path / "prepare-1"), "encoder": None}
        context = {
            "stage": "says", "arm": "a", "directory": str(directory), "inputs": inputs, "group": "g",
            "output_dir": str(tmp_path),
        }  # fmt: skip
        config = {"_target_": f"{__name__}.Says", "words": "hello"} | options
        return write_manifest(directory, "f" * 8, context, config)

    return make


def test_the_context_is_read_back(manifest, tmp_path):
    context, config = read_manifest(manifest())
    assert context.directory == tmp_path / "says-1"
    assert context.inputs == {"corpus": tmp_path / "prepare-1", "encoder": None}
    assert context.settings == config == {"_target_": f"{__name__}.Says", "words": "hello"}


def test_a_stage_runs_until_it_is_done(manifest, tmp_path):
    path = manifest()
    run_stage(path)
    assert (path.parent / "said").read_text() == "hello says (a) prepare-1\n"
    run_stage(path)
    assert len((path.parent / "said").read_text().splitlines()) == 1
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "done",
        "lock",
        "manifest.json",
        "record.json",
        "said",
    ]


def test_a_stage_is_done_before_another_process_gets_the_lock(manifest, monkeypatch):
    """Otherwise two jobs that start with the same stage would both compute it."""
    path, free = manifest(), []

    @contextmanager
    def watched(lock, waiting):
        with locked(lock, waiting):
            yield
            free.append((lock.parent / "done").is_file())

    monkeypatch.setattr(module, "locked", watched)
    run_stage(path)
    assert free == [True]


def test_a_manifest_is_not_written_while_another_process_works_nor_over_what_is_done(manifest, monkeypatch):
    """The other one removes leftovers, and half-written manifests are of their kind."""
    path = manifest()
    before, waited = path.read_text(), []

    @contextmanager
    def watched(lock, waiting):
        waited.append(lock)
        (path.parent / "done").touch()  # by the other process, meanwhile
        yield

    monkeypatch.setattr(module, "locked", watched)
    manifest(words="others")
    assert waited == [path.parent / "lock"]
    assert path.read_text() == before


@pytest.mark.parametrize(("made", "ran"), [("turn", True), ("done", False)])
def test_a_process_above_the_first_waits_for_the_turn_of_the_first_or_for_its_result(manifest, monkeypatch, made, ran):
    path = manifest()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    (path.parent / f"turn-{process.launch_id()}").touch()
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "y")  # the turn of other processes is not ours
    monkeypatch.setenv("RANK", "1")
    name = {"turn": f"turn-{process.launch_id()}", "done": "done"}[made]
    monkeypatch.setattr(process.time, "sleep", lambda _: (path.parent / name).touch())
    run_stage(path)
    assert (path.parent / "said").exists() == ran


def test_the_first_process_says_that_it_is_its_turn_and_takes_the_sign_away(manifest, monkeypatch):
    path, seen = manifest(), []
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "x")
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setattr(Says, "run", lambda self, context: seen.extend(context.directory.glob("turn-*")))
    run_stage(path)
    assert [turn.name for turn in seen] == [f"turn-{process.launch_id()}"]
    assert not list(path.parent.glob("turn-*"))


def test_what_a_killed_process_left_is_removed_first(manifest):
    path = manifest()
    (path.parent / "tokens" / ".queries.17.tmp").mkdir(parents=True)
    run_stage(path)
    assert not list(path.parent.rglob(".*.tmp"))


def test_only_the_first_process_removes_leftovers(manifest, monkeypatch):
    path = manifest()
    (path.parent / ".shard.17.tmp").touch()
    monkeypatch.setenv("RANK", "1")
    run_stage(path)
    assert (path.parent / ".shard.17.tmp").exists()


def test_a_mistake_in_the_options_is_named_with_its_key(manifest):
    with pytest.raises(BadInput, match="unknown option 'says.word'; did you mean 'words'"):
        run_stage(manifest(word="x"))


def test_a_full_disk_is_one_line_with_a_remedy(manifest):
    with pytest.raises(
        BadInput, match=r"disk full while says \(a\) wrote to .*says-1 .*: free space or set output_dir"
    ):
        run_stage(manifest(failure="full"))


@pytest.mark.parametrize(("failure", "code"), [("", 0), ("bad", EXIT_BAD_INPUT), ("stop", EXIT_RESUME)])
def test_the_exit_code_says_how_it_ended(manifest, failure, code, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["run_stage", str(manifest(failure=failure))])
    assert main() == code
    assert ("error: corpus.path=x does not exist" in capsys.readouterr().err) == (failure == "bad")


def test_an_error_of_the_program_is_not_hidden(manifest, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["run_stage", str(manifest(failure="bug"))])
    with pytest.raises(ZeroDivisionError):
        main()


@pytest.mark.parametrize(
    ("trainer", "expected"),
    [
        (None, False), ({}, False), ({"devices": 1}, False), ({"devices": "1", "strategy": "auto"}, False),
        ({"devices": 2}, True), ({"devices": 1, "num_nodes": 2}, True), ({"devices": 1, "strategy": "ddp"}, True),
    ],
)  # fmt: skip
def test_several_devices_are_noticed(trainer, expected):
    assert distributed({"trainer": trainer}) == expected


@pytest.mark.parametrize(
    ("code", "error"), [(0, None), (EXIT_RESUME, Interrupted), (EXIT_BAD_INPUT, BadInput), (1, BadInput)]
)
def test_the_code_of_a_child_becomes_the_same_end_here(manifest, monkeypatch, code, error):
    command = [sys.executable, "-c", f"raise SystemExit({code})"]
    real = module.subprocess.Popen
    monkeypatch.setattr(module.subprocess, "Popen", lambda _: real(command))
    config = {"trainer": {"devices": 2}}
    if error is None:
        run_here_or_in_child(manifest(), config)
        return
    with pytest.raises(error) as raised:
        run_here_or_in_child(manifest(), config)
    assert str(raised.value) == ("the process of says-1 ended with code 1: its output above says where" * (code == 1))


@pytest.mark.parametrize(
    ("error", "code", "line"), [(BadInput("no"), 2, "no"), (RuntimeError("a\nbug"), None, "RuntimeError: a bug")]
)
def test_a_child_leaves_in_one_line_why_it_failed(manifest, monkeypatch, error, code, line):
    def fails(_):
        raise error

    path = manifest()
    monkeypatch.setattr(module, "run_stage", fails)
    monkeypatch.setattr(sys, "argv", ["run_stage", str(path)])
    with pytest.raises(RuntimeError) if code is None else nullcontext():
        assert module.main() == code
    ended = [sys.executable, "-c", f"raise SystemExit({code or 1})"]
    real = module.subprocess.Popen
    monkeypatch.setattr(module.subprocess, "Popen", lambda _: real(ended))
    with pytest.raises(BadInput) as raised:
        run_here_or_in_child(path, {"trainer": {"devices": 2}})
    assert (raised.value.line if code else str(raised.value).partition(": ")[2].partition(";")[0]) == line


def test_a_full_disk_is_found_behind_other_errors():
    error = RuntimeError("could not write")
    error.__cause__ = OSError(errno.EDQUOT, "quota")
    assert disk_full(error) == os.strerror(errno.EDQUOT)
    assert disk_full(RuntimeError("I/O error (os error 28)")) == os.strerror(errno.ENOSPC)
    assert disk_full(OSError(errno.ENOENT, "x")) is None


def test_stages_of_another_format_are_counted(manifest, tmp_path):
    manifest()
    assert count_former(tmp_path) == 0
    (tmp_path / "old-1").mkdir()
    write_json(tmp_path / "old-1" / "manifest.json", {"fingerprint": "x"})
    assert count_former(Path(tmp_path)) == 1
