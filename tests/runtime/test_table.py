"""The record of a table, its text, its file."""

import io
import json
import math
import re
import sys

import pytest

from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.mean import Mean
from bmae_lightning.runtime.table import (
    BEST_OF_COLUMN,
    BEST_OF_ROW,
    PAPER,
    SUMMARY,
    Column,
    Table,
    fold,
    print_tables,
    read_tables,
    text,
    write_tables,
)

LONG = "retromae decoders.enhanced.mask.rate=0.3"
FIVE = ["RR@10", "nDCG@10", "R@50", "R@100", "R@1000"]


def measures(*arms: tuple, names=FIVE, marks=()) -> Table:
    columns = ["arm", *(Column(name, ".3f", True) for name in names), Column("queries", ",")]
    return Table("t", columns, arms, marks).with_best()


def test_a_row_must_have_a_value_for_every_column():
    with pytest.raises(ValueError, match=r"table 'scores': the row \('a',\) has 1 values, not 2"):
        Table("scores", ["arm", Column("x", ".1f")], [["a"]])


def test_values_alike_as_printed_share_the_best_and_published_ones_take_no_part():
    columns = [
        "arm",
        Column("x", ".2f", True),
        Column("ms", ".0f", False),
        Column("same", ".1f", True),
        Column("n", ","),
    ]
    rows = [["a", 0.501, 12, 0.5, 3], ["b", 0.499, 9, 0.5, 9], ["c", 0.4, math.nan, None, 1], ["paper", 0.9, 1, 0.6, 5]]
    table = Table("t", columns, rows, [(3, 0, PAPER)]).with_best()
    assert table.emphasis() == dict.fromkeys([(0, 1), (1, 1), (1, 2)], BEST_OF_COLUMN)
    rows = Table(
        "t", ["", Column("x", ".2f", True), Column("y", ".2f", True)], [["a", 0.5, 0.6], ["b", 0.7, 0.7]]
    ).with_best(of_rows=True)
    assert rows.emphasis() == {(0, 2): BEST_OF_ROW}


def test_a_spread_does_not_tell_the_best_from_others():
    rows = [["a", 0.5], ["b", Mean(0.5001, 0.1, 3)], ["c", Mean(0.4, 0.0, 3)]]
    assert set(Table("t", ["", Column("x", ".2f", True)], rows).with_best().emphasis()) == {(0, 1), (1, 1)}


def test_how_values_are_printed():
    columns = ["name", Column("share", ".1%"), Column("difference", "+.3f"), Column("p", "p"), Column("count", ",")]
    table = Table("t", columns, [["a\nsmall", 0.3, 0.0123, 0.00001, 1234], ["b", "", -0.5, math.nan, None]])
    assert table.cells(0) == ["a", "30.0 %", "+0.012", "<0.0001", "1,234"]
    assert table.cells(1) == ["b", "", "-0.500", "-", "-"]
    assert table.below() == ["a: small"]


def test_text_of_five_measures_fits_80_columns_and_is_aligned():
    table = measures(("BM25", 0.49, 0.53, 0.8, 0.86, 0.95, 208), (LONG, 0.51, 0.55, 0.83, 0.89, 0.97, 208))
    lines = text(table).splitlines()[1:]
    assert max(map(len, lines)) <= 80
    head, first, second = lines[0], lines[2], lines[3]
    for name, low, high in [("RR@10", "0.490", "0.510*"), ("R@1000", "0.950", "0.970*")]:
        end = head.index(f" {name} ") + len(name) + 1
        assert first[:end].endswith(low)
        assert second[: end + 1].endswith(high)
    assert head.endswith("queries")
    assert re.sub(r"[\s\d.*]", "", lines[3] + lines[4]) == re.sub(r"[\s\d.]", "", LONG)


def test_text_is_wide_rather_than_cut():
    shown = text(measures((LONG, *[0.123] * 12, 208), names=[f"Success@{i}" for i in range(12)]))
    assert shown.count("0.123") == 12
    assert "…" not in shown


def test_wide_heads_become_numbers():
    names = [f"organisation/retriever-{i}" for i in range(6)]
    lines = text(measures(("x", *[0.1] * 6, 5), names=names)).splitlines()
    assert max(map(len, lines)) <= 110
    assert "[6] organisation/retriever-5" in lines


def test_groups_rules_marks_and_notes():
    columns = [
        "",
        Column("one", ".1f", True, "A\n5 texts"),
        Column("two", ".1f", True, "A\n5 texts"),
        Column("mean", ".1f"),
    ]
    rows = [["x\nhow", 0.1, 0.2, 0.15], ["paper", 0.3, "", None], ["all", 0.5, 0.5, 0.5]]
    table = Table("t", columns, rows, [(1, 0, PAPER), (2, 0, SUMMARY), (0, 2, "clear")], ["a note"])
    lines = text(table).splitlines()
    assert [line.split() for line in lines] == [
        ["t"], ["A"], ["5", "texts"], ["one", "two", "mean"], [lines[4]], ["x", "0.1", "0.2*", "0.1"],
        ["paper", "0.3", "-"], [lines[4]], ["all", "0.5", "0.5", "0.5"], ["*", "clear"], ["x:", "how"], ["a", "note"],
    ]  # fmt: skip
    assert set(lines[4]) == {"-"}
    assert lines[6].startswith("  paper")


def test_daggers_stand_behind_a_value_which_may_be_the_best_too():
    columns = ["arm", Column("RR@10", ".3f", True), Column("queries", ",")]
    differs = "† differs from none"
    table = Table("t", columns, [["none", 0.5, 9], ["a", 0.6, 9], ["b", 0.55, 9]], [(1, 1, differs), (2, 1, differs)])
    table = table.with_best()
    assert table.emphasis() == {(1, 1): BEST_OF_COLUMN}
    assert table.signs() == {(1, 1): "†", (2, 1): "†"}
    lines = text(table).splitlines()
    assert lines[-2:] == [f"* {BEST_OF_COLUMN}", differs]
    assert [line.split()[1] for line in lines[3:6]] == ["0.500", "0.600*†", "0.550†"]
    ends = {line.index(line.split()[1]) + 5 for line in lines[3:6]} | {lines[1].index("RR@10") + 5}
    assert len(ends) == 1, "digits and their head end in one column"


def test_colour_marks_the_best_and_dims_what_is_published():
    table = measures((LONG, 0.51, 0.55, 0.83, 0.89, 0.97, 208), ("[red]x", 0.1, 0.2, 0.3, 0.4, 0.5, 208),
                     ("paper", 0.2, None, None, None, None, ""), marks=[(2, 0, PAPER)])  # fmt: skip
    coloured = text(table, 80, colour=True)
    plain = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    assert plain == text(table, 80)
    assert "[red]x" in plain
    assert "\x1b[1;32m0.510*" in coloured
    assert "\x1b[1;32m0.100" not in coloured
    assert "\x1b[2m  paper" in coloured


@pytest.mark.parametrize("width", [20, 24, 30])
def test_fold_loses_nothing_and_spares_numbers(width):
    lines = fold(LONG + " " + "x" * 45, width)
    assert max(map(len, lines)) <= width
    assert "".join(lines).replace(" ", "") == (LONG + "x" * 45).replace(" ", "")
    assert any("0.3" in line for line in lines)


def test_print_to_an_ascii_stream_does_not_fail(monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    print_tables([measures(("é\x1b[2J", 0.5, 1), names=["RR@10"])])
    stream.seek(0)
    assert "? [2J" in stream.read()  # neither the letter nor the escape sequence gets through


def test_tables_of_a_stage_are_read_as_they_were_written(tmp_path):
    assert read_tables(tmp_path) == []
    tables = [measures(("a", 0.1, 208), ("b", 0.2, 1), names=["RR@10"], marks=[(0, 0, SUMMARY)])]
    write_tables(tmp_path, [*tables, Table("x", ["", Column("y", ".1f")], [["z", math.inf]])])
    json.loads((tmp_path / "tables.json").read_text(), parse_constant=lambda name: pytest.fail(name))
    found = read_tables(tmp_path)
    assert found[:1] == tables
    assert found[1].cells(0) == ["z", "-"]
    (tmp_path / "tables.json").write_text("[")
    with pytest.raises(BadInput, match="tables.json"):
        read_tables(tmp_path)
