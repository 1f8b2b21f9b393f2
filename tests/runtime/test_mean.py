import json
import math
import pickle
import statistics
from dataclasses import dataclass

import pytest

from bmae_lightning.runtime.mean import Mean, mean_of
from bmae_lightning.runtime.plain import plain, restored
from bmae_lightning.runtime.table import Column, Table, cell_text


def test_a_mean_is_a_number_with_the_sample_standard_deviation():
    values = [0.31, 0.35, 0.36]
    mean = mean_of(values)
    assert mean == pytest.approx(statistics.mean(values))
    assert mean.runs == 3
    assert mean.sd == pytest.approx(statistics.stdev(values))
    assert mean_of([0.5]) == 0.5
    assert not isinstance(mean_of([0.5]), Mean)


def test_a_mean_survives_pickle_and_json_in_records_and_tables():
    @dataclass
    class Record:
        values: dict[str, float]

    mean = mean_of([0.25, 0.75])
    back = restored(Record, json.loads(json.dumps(plain(Record({"a": mean, "b": 0.5})))))
    table = Table("t", ["row", Column("a", ".3f")], [["one", mean], ["two", 0.5]])
    cell = restored(Table, json.loads(json.dumps(plain(table)))).rows[0][1]
    for found in (pickle.loads(pickle.dumps(mean)), back.values["a"], cell):
        assert isinstance(found, Mean)
        assert (found, found.sd, found.runs) == (mean, mean.sd, 2)


def test_a_cell_prints_its_spread_in_the_same_unit():
    mean = Mean(0.5251, 0.0124, 3)
    assert cell_text(mean, Column("a", ".3f")) == "0.525 ± 0.012"
    assert cell_text(mean, Column("a", ".1%")) == "52.5 % ± 1.2 %"
    assert cell_text(mean, Column("a", "+.3f")) == "+0.525 ± 0.012"
    assert cell_text(mean.scaled(100), Column("a", ".1f")) == "52.5 ± 1.2"
    assert cell_text(Mean(0.5, math.nan, 1), Column("a", ".3f")) == "0.500"
