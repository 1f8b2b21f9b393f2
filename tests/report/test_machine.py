import pytest

from bmae_lightning.report.machine import read_json, write_json
from bmae_lightning.runtime.errors import BadInput


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
