"""A stage from its manifest: once, by one process at a time, with a code for the shell."""

import errno
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from bmae_lightning.runtime import run_stage as module
from bmae_lightning.runtime.errors import EXIT_BAD_INPUT, EXIT_RESUME, BadInput, Interrupted
from bmae_lightning.runtime.files import write_json
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
    (path.parent / "done").touch()
    run_stage(path)
    assert len((path.parent / "said").read_text().splitlines()) == 1


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
    assert str(raised.value) == ("the process of says-1 ended with code 1: its output above says why" * (code == 1))


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
