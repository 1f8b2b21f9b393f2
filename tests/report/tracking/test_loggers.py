"""Loggers of a stage: opened on the first process alone, closed whatever happens, given tables where they show them."""

import csv

import pytest
from support.stages import context

from bmae_lightning.report.tracking.loggers import (
    CsvTracking,
    NoTracking,
    Several,
    TensorboardTracking,
    Tracking,
    log_tables,
    under,
)
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.table import PAPER, Column, Table


class Recorder(Tracking):
    """A tracking of one logger, itself, which remembers what it was told."""

    def __init__(self) -> None:
        self.told: list = []

    def open(self, context):
        self.told.append("open")
        return [self]

    def close(self, context, failed):
        self.told.append("close")

    def finalize(self, status):
        self.told.append(status)

    def log_metrics(self, values, step):
        self.told.append((values, step))

    def log_table(self, key, columns, data):
        self.told.append((key, columns, data))


def test_loggers_are_closed_after_an_error(tmp_path):
    tracking = Recorder()
    with pytest.raises(RuntimeError), tracking.of(context(tmp_path / "pretrain")):
        raise RuntimeError
    assert tracking.told == ["open", "failed", "close"]


def test_several_are_all_told(tmp_path):
    first, second = Recorder(), Recorder()
    Several([first, second]).log(context(tmp_path / "evaluate"), {"test/RR@10": 0.5})
    assert first.told == second.told == ["open", ({"test/RR@10": 0.5}, 0), "success", "close"]
    assert under([first], "queries") == [first], "a logger without prefixes is told as it is"


def test_other_processes_have_none(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    tracking = Recorder()
    with tracking.of(context(tmp_path / "pretrain")) as loggers:
        assert loggers == []
    assert tracking.told == []


def test_results_are_written_at_step_0(tmp_path):
    tracking = Recorder()
    tracking.log(context(tmp_path / "evaluate"), {"test/RR@10": 0.5})
    assert tracking.told == ["open", ({"test/RR@10": 0.5}, 0), "success", "close"]


def test_tables_are_logged_with_plain_values():
    tracking = Recorder()
    columns = ["arm", Column("F1", ".1f", True, "QQP\nsmall")]
    log_tables(
        [tracking, object()], {"scores": Table("t", columns, [["a\nnote", 0.5], ["paper", ""]], [(1, 0, PAPER)])}
    )
    assert tracking.told == [("scores", ["arm", "QQP/F1"], [["a", 0.5], ["paper", None]])]


def test_csv_lies_in_the_directory_of_the_stage(tmp_path):
    where = context(tmp_path / "retriever1")
    CsvTracking().log(where, {"loss": 0.25})
    (path,) = where.directory.glob("csv/version_0/metrics.csv")
    (line,) = csv.DictReader(path.open())
    assert float(line["loss"]) == 0.25


def test_none_and_what_is_missing(tmp_path, monkeypatch):
    where = context(tmp_path / "retriever1")
    with NoTracking().of(where) as loggers:
        assert loggers == []

    def absent(*_, **__):
        raise ModuleNotFoundError("tensorboard")

    monkeypatch.setattr("pytorch_lightning.loggers.TensorBoardLogger", absent)
    with pytest.raises(BadInput, match="logger=tensorboard needs the package tensorboard: pip install tensorboard"):
        TensorboardTracking().open(where)
