import os

import pytest

from bmae_lightning.report.machine import read_json, write_json
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import write_whole


def test_round_trip_through_a_file(report, tmp_path):
    write_json(tmp_path / "new" / "report.json", report)
    assert read_json(tmp_path / "new" / "report.json").to_json() == report.to_json()


def test_absent_file_is_named(tmp_path):
    with pytest.raises(BadInput, match="report.json"):
        read_json(tmp_path / "report.json")


def test_broken_file_is_named(tmp_path):
    (tmp_path / "report.json").write_text("{")
    with pytest.raises(BadInput, match="report.json"):
        read_json(tmp_path / "report.json")


def test_failed_write_keeps_the_old_file_and_leaves_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "page"
    write_whole(path, "old")

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        write_whole(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["page"]
