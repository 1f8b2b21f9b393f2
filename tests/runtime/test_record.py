"""What a stage took is written down, and what a killed attempt took is not made up."""

import json
import os
import subprocess
import sys
import time

import pytest

from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.plain import plain
from bmae_lightning.runtime.record import Attempt, Record, read_record, recorded


def test_an_attempt_stands_there_from_its_start_and_is_completed_at_its_end(tmp_path):
    with recorded(tmp_path, {"trainer": {"accelerator": "cpu", "devices": "3", "num_nodes": 2}}):
        (running,) = json.loads((tmp_path / "record.json").read_text())["attempts"]
        assert running["ended"] is running["seconds"] is None
        assert not read_record(tmp_path).complete
        time.sleep(0.05)
    record = read_record(tmp_path)
    (attempt,) = record.attempts
    assert record.complete
    assert attempt.started == running["started"]
    assert attempt.seconds == record.seconds >= 0.05
    assert (attempt.devices, attempt.gpu, attempt.watt_hours) == (6, False, None)
    assert record.device_hours == pytest.approx(6 * attempt.seconds / 3600)
    assert attempt.place == f"6 x {attempt.device}"
    assert attempt.device.endswith(("1 thread", "threads"))
    assert attempt.host == os.uname().nodename
    assert record.versions["python"] == ".".join(map(str, sys.version_info[:3]))
    assert {"bmae_lightning", "torch", "pytorch-lightning", "transformers", "numpy", "faiss"} < record.versions.keys()


def test_attempts_that_end_in_an_error_are_summed_with_the_next(tmp_path):
    with pytest.raises(ZeroDivisionError), recorded(tmp_path, {}):
        raise ZeroDivisionError
    with recorded(tmp_path, {}):
        pass
    first, second = read_record(tmp_path).attempts
    assert first.ended
    assert read_record(tmp_path).seconds == first.seconds + second.seconds
    assert read_record(tmp_path).complete


def test_a_killed_attempt_has_no_end_and_stays(tmp_path):
    code = f"""if True:
        import os, pathlib, signal
        from bmae_lightning.runtime.record import recorded
        with recorded(pathlib.Path({str(tmp_path)!r}), {{}}):
            os.kill(os.getpid(), signal.SIGKILL)"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -9
    assert [attempt.ended for attempt in read_record(tmp_path).attempts] == [None]
    with recorded(tmp_path, {}):
        pass
    record = read_record(tmp_path)
    assert [attempt.ended is None for attempt in record.attempts] == [True, False]
    assert not record.complete
    assert record.seconds >= record.attempts[1].seconds


def test_a_killed_attempt_took_at_least_until_the_last_file_that_it_wrote(tmp_path):
    """It began an hour ago and wrote a checkpoint 20 minutes later; the manifest is that of the attempt after it."""
    began = 1_800_000_000
    started = time.strftime("%Y-%m-%dT%H:%M:%S%z", time.localtime(began))
    (tmp_path / "record.json").write_text(json.dumps(plain(Record([Attempt(started)]))))
    (tmp_path / "checkpoints").mkdir()
    for name, after in {
        "record.json": 0,
        "checkpoints/1.ckpt": 1200,
        "manifest.json": 3600,
        "lock": 3600,
        "turn-1": 3600,
    }.items():
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (began + after, began + after))
    with recorded(tmp_path, {}):
        pass
    with recorded(tmp_path, {}):
        pass
    killed, *_ = read_record(tmp_path).attempts
    assert (killed.ended, killed.seconds) == (None, 1200)
    assert not read_record(tmp_path).complete


def test_without_a_record_nothing_is_known(tmp_path):
    assert read_record(tmp_path) == Record()
    assert not Record().complete


def test_a_record_is_read_back_and_a_damaged_one_is_named(tmp_path):
    attempt = Attempt("2026-11-30T20:00:00+0000", None, None, "h", "NVIDIA H200", 8, True, 70.5, 12.5)
    record = Record([attempt], {"torch": "2.13.0"}, "c" * 40)
    (tmp_path / "record.json").write_text(json.dumps(plain(record)))
    assert read_record(tmp_path) == record
    (tmp_path / "record.json").write_text('{"attempts": [{"begun": 1}]}')
    with pytest.raises(BadInput, match="record.json: is no record of a stage"):
        read_record(tmp_path)
