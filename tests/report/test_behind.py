"""The tables of what is behind the rows: values by hand, means over seeds, and nothing that is not known."""

from dataclasses import replace

import pytest

from bmae_lightning.report.behind import behind_tables, masks_in_words
from bmae_lightning.report.content import Arm, Origin, Report
from bmae_lightning.report.render import csv_text, latex, markdown
from bmae_lightning.report.tables import all_tables
from bmae_lightning.runtime.mean import Mean
from bmae_lightning.runtime.table import text

MASKS = {
    "view.passage": {"policy": "UniformMask", "rate": 0.3}, "decoders.enhanced": {"policy": "UniformMask", "rate": 0.5},
}  # fmt: skip


def origin(seed, **known):
    job = {
        "command": f"python -m bmae_lightning +experiment=retromae seed={seed} 'decoders=[a|b]'", "seed": seed,
        "encoder": "tiny", "scale": "laptop", "masks": MASKS,
    }  # fmt: skip
    made = Origin(
        job, f"f{seed}", f"2026-11-0{seed}T10:20:30+0000", 3600.0 * seed, 8.0 * seed, "8 x NVIDIA H200",
        1000.0 * seed, 50.0, 70.0, 12.0, {"torch": "2.13", "numpy": "2.4"}, "0123456789abcdef-dirty",
    )  # fmt: skip
    return replace(made, **known)


def arm(name, *origins, split="dev"):
    return Arm(name, {"RR@10": 0.5}, 20, node=f"evaluate@{name}", split=split, origins=list(origins))


def of(*arms):
    return {table.title: table for table in behind_tables(Report("x", arms=list(arms)))}


def test_a_row_of_one_run_has_what_it_took():
    table = of(arm("a", origin(1)), arm("a", origin(1), split="test"))["Cost"]
    heads = [column.key for column in table.columns]
    assert heads == [
        "row", "passages/s/pre-training", "passages/s/encoding", "device hours", "peak GiB", "Wh", "started",
        "took, min",
    ]  # fmt: skip
    assert table.rows == (("a", 1000.0, 50.0, 8.0, 70.0, 12.0, "2026-11-01 10:20", 60.0),)
    assert table.cells(0)[1:6] == ["1,000", "50.0", "8.00", "70.0", "12.0"]
    assert any("GPUs" in note for note in table.notes)
    assert not any("killed" in note or "seeds" in note for note in table.below())


def test_a_row_over_seeds_has_the_mean_cost_and_each_run_stands_behind_it():
    tables = of(arm("a", origin(1), origin(2), origin(3)), arm("bm25", replace(origin(1), job={"command": "c"})))
    row = dict(zip([column.name for column in tables["Cost"].columns], tables["Cost"].rows[0], strict=True))
    assert row["row"] == "a\nmean over seeds 1, 2, 3"
    assert isinstance(row["device hours"], Mean)
    assert (row["device hours"], row["device hours"].sd, row["device hours"].runs) == (16.0, 8.0, 3)
    assert (row["pre-training"], row["pre-training"].sd) == (2000.0, 1000.0)
    assert (row["started"], row["took, h"], row["took, h"].sd) == ("2026-11-01 10:20", 2.0, 1.0)
    behind = tables["Behind the rows"]
    assert [row[0] for row in behind.rows] == ["a", "a", "a", "bm25"]
    assert [row[1] for row in behind.rows] == ["f1", "f2", "f3", "f1"]
    assert behind.rows[1][2:9] == (
        "0123456789-dirty", "8 x NVIDIA H200", "2026-11-02", "2", "tiny", "laptop",
        "encoder uniform 0.3; enhanced uniform 0.5",
    )  # fmt: skip
    assert behind.rows[3][5:9] == ("", "", "", "")


def test_what_is_not_wholly_known_is_said():
    known, unknown = origin(1), origin(2, seconds=None, device_hours=None, watt_hours=None, peak_gib=None)
    table = of(arm("a", known, unknown), arm("b", replace(known, complete=False, watt_hours=None)))["Cost"]
    values = dict(zip([column.name for column in table.columns], zip(*table.rows, strict=True), strict=True))
    assert "Wh" not in values, "no row has it"
    assert values["device hours"] == (None, 8.0)
    assert values["took, min"] == (None, 60.0)
    assert table.below()[1] == "b: at least: a stage was killed once, or has no record"


def test_nothing_is_said_where_nothing_is_known():
    assert of(arm("a"), arm("b", Origin({}))) == {}
    assert all_tables(Report("x", arms=[arm("a")])).keys() == {"measures"}


def test_versions_that_differ_name_their_rows():
    other = replace(origin(2), versions={"torch": "2.12", "numpy": "2.4"})
    notes = of(arm("a", origin(1)), arm("b", other), arm("c", origin(3)))["Behind the rows"].notes
    assert notes == ("Versions: numpy 2.4.", "Rows differ in torch: 2.13 in a, c; 2.12 in b.")


@pytest.mark.parametrize(
    ("masks", "words"),
    [
        ({}, ""),
        (MASKS, "encoder uniform 0.3; enhanced uniform 0.5"),
        (
            {
                "view.passage": {"policy": "UniformMask", "rate": 0.15}, "view.query": {"policy": "LongestWords"},
                "decoders.complement": {"policy": "ComplementMask"},
            },
            "encoder passage uniform 0.15; encoder query longest words; complement complement",
        ),
    ],
)  # fmt: skip
def test_masks_are_told_in_words(masks, words):
    assert masks_in_words(masks) == words


def test_commands_are_whole_in_files_and_beside_the_table_in_latex():
    table = of(arm("a", origin(1)), arm("b", origin(1)), arm("c", origin(2)))["Behind the rows"]
    command = "python -m bmae_lightning +experiment=retromae seed={} 'decoders=[a|b]'"
    assert f"| `{command.format(1)}` |".replace("a|b", r"a\|b") in markdown(table)
    assert csv_text(table).splitlines()[3].endswith(command.format(2))
    made = latex(table).splitlines()
    assert made[5].startswith("a & f1 & 0123456789-dirty & 8 x NVIDIA H200 & 2026-11-01 & 1 & tiny & laptop & encoder")
    assert made[-2:] == [f"% a, b: {command.format(1)}", f"% c: {command.format(2)}"]
    assert r"\begin{tabular}{lllllllll}" in made


def test_tables_that_stages_left_have_rows_behind_them_too():
    report = Report("x", arms=[arm("a", origin(1))], behind=[arm("a (glue)", origin(2), split="")])
    assert [[row[0] for row in table.rows] for table in behind_tables(report)] == [["a", "a (glue)"]] * 2


def test_they_stand_behind_the_measures_among_all_tables():
    names = list(all_tables(Report("x", arms=[arm("a", origin(1)), arm("a", origin(1), split="test")])))
    assert names == ["measures", "measures_test", "cost", "behind_the_rows"]
    assert "a" in text(all_tables(Report("x", arms=[arm("a", origin(1))]))["cost"])
