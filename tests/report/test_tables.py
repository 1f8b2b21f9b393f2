"""The tables of a report: measures, tests, those that stages left, in several jobs, with published values."""

import json
import math
from dataclasses import replace

import pytest

from bmae_lightning.evaluation.measure.significance import Difference, differences
from bmae_lightning.report.content import Arm, Report
from bmae_lightning.report.page import html
from bmae_lightning.report.significance import CLEAR, paired_tests, significance_tables, values_per_query
from bmae_lightning.report.tables import (
    all_tables,
    measures_table,
    merged,
    of_arm,
    print_report,
    renamed,
    with_published,
)
from bmae_lightning.runtime.table import BEST_OF_COLUMN, PAPER, Column, Table, text

LONG = "retromae decoders.enhanced.mask.rate=0.3"
ROW = Difference("RR@10", "retromae", "none <b>", 208, 0.0123, 0.00001, 0.03, 0.0123456, 0.049, "test", (-0.004, 0.02))
PAPER_VALUES = {"CoLA": 0.607, "QQP": 0.898, "MRPC": 0.891}


@pytest.fixture
def tested(report) -> Report:
    unclear = replace(ROW, arm="bm25", difference=-0.5, randomisation_holm=0.05)
    lone = replace(ROW, measure="R@100", queries=1, t=math.nan, t_holm=math.nan)
    return replace(report, differences=[ROW, unclear, lone], tested={"test": ["RR@10", "R@100"]})


def glue(arm: str, note: str = "") -> Table:
    """The table of GLUE as the stage leaves it for an arm."""
    columns = ["", Column("Matthews", ".3f", True, "CoLA\n1,043 examples"),
               Column("accuracy", ".3f", True, "QQP\n40,430 examples"),
               Column("F1", ".3f", True, "QQP\n40,430 examples"),
               Column("mean", ".3f", True)]  # fmt: skip
    return of_arm(Table("Understanding (GLUE)", columns, [["", 0.5912, 0.9, 0.85, 0.7331]], notes=["Measured."]), arm)


def test_the_best_value_is_marked_and_ties_as_printed_share_it(report):
    table = measures_table(report)
    places = [column.name for column in table.columns]
    best = {(table.cells(row)[0], places[column]) for row, column in table.emphasis()}
    tied = {("no pre-training", "nDCG@10"), (LONG, "nDCG@10")}
    assert best == {(LONG, "RR@10"), (LONG, "R@100")} | tied  # P@5 is equal everywhere: no best
    assert set(table.emphasis().values()) == {BEST_OF_COLUMN}


def test_decimals_grow_with_the_queries(report):
    assert measures_table(report).cells(0)[1] == "0.491"
    many = replace(report, arms=[replace(arm, queries=6980) for arm in report.arms])
    assert measures_table(many).cells(0)[1] == "0.4912"
    assert measures_table(many).cells(0)[-1] == "6,980"


def test_missing_and_published_values_have_their_places(report):
    table = measures_table(report)
    assert table.cells(1) == ["no pre-training", "0.503", "0.551", "-", "-", "208"]
    assert table.marked(PAPER) == [3]
    assert table.cells(3) == ["paper", "0.416", "-", "-", "-", ""]


def test_what_is_printed_elsewhere_than_on_a_terminal_is_plain_text(report, capsys):
    print_report(report, "out/report.html")
    shown = capsys.readouterr().out
    assert "\x1b" not in shown
    assert shown.endswith("report: out/report.html\n")
    assert "0.512*" in shown
    assert "BM25: k1=0.9 <b>" in shown
    assert f"{LONG}: paper: Table <6>" in shown


def test_cells_of_the_tests(tested):
    first, second = significance_tables(tested)
    assert (first.title, second.title) == ("Differences in RR@10", "Differences in R@100")
    assert first.cells(0) == [
        "retromae − none <b>", "+0.012", "-0.004", "+0.020", "<0.0001", "0.0300", "0.0123", "0.0490", "208"
    ]  # fmt: skip
    assert first.emphasis() == {(0, 1): CLEAR}
    assert second.cells(0)[4:6] == ["-", "-"]


def test_tests_on_the_page_and_in_the_terminal(tested, report):
    page = html(tested)
    part = page[page.index('<section id="significance"') : page.index('<section id="cases"')]
    assert "none &lt;b&gt;" in part
    assert "<strong>+0.012</strong>" in part
    assert "<strong>-0.500</strong>" not in part
    assert part.count("<details open>") == 2
    many = replace(tested, differences=[ROW] * 16)
    assert "<details><summary>Differences in RR@10: 16 pairs</summary>" in html(many)
    lines = text(significance_tables(tested)[0]).splitlines()
    assert lines[4].startswith("retromae − none <b>")
    assert "+0.012*" in lines[4]
    assert "-0.500*" not in lines[5]
    assert "* both adjusted p below 0.05" in lines
    assert significance_tables(replace(report, differences=[])) == []


def test_arms_that_kept_their_values_are_tested(tmp_path):
    values = {"a": {"1": 0.5, "2": 1.0}, "b": {"1": 0.0, "2": 0.5}}
    for arm in values:
        (tmp_path / arm).mkdir()
        (tmp_path / arm / "per_query.test.json").write_text(json.dumps({"RR@10": values[arm]}))
    runs = {arm: [tmp_path / arm] for arm in ("a", "b", "absent")}
    found = [replace(row, split="test") for row in differences("RR@10", values)]
    assert paired_tests(values_per_query(runs, "test"), "test", ["RR@10", "R@5"]) == found
    assert paired_tests(values_per_query(runs, "dev"), "dev", ["RR@10"]) == []


def test_values_of_several_runs_are_their_means(tmp_path):
    for run, (first, second) in {"a1": (0.5, 1.0), "a2": (0.25, 0.0), "other": (1.0, 1.0)}.items():
        (tmp_path / run).mkdir()
        other = {"3": 1.0} if run == "other" else {}
        kept = {"RR@10": {"1": first, "2": second} | other, "R@5": {"1": first}}
        (tmp_path / run / "per_query.test.json").write_text(json.dumps(kept))
    found = values_per_query(
        {"a": [tmp_path / "a1", tmp_path / "a2"], "b": [tmp_path / "a1", tmp_path / "other"]}, "test"
    )
    assert found["a"] == {"RR@10": {"1": 0.375, "2": 0.5}, "R@5": {"1": 0.375}}
    assert found["b"] == {"R@5": {"1": 0.75}}, "of other queries there is no mean"


def test_arms_of_a_stage_make_one_table_with_published_values():
    (table,) = merged([glue("no pre-training"), glue("re<mae>")])
    lines = text(with_published(table, "re<mae>", PAPER_VALUES, "MASTER Table 7")).splitlines()
    assert lines[1].split() == ["CoLA", "QQP"]
    assert lines[2].split() == ["1,043", "examples", "40,430", "examples"]
    assert lines[3].split() == ["arm", "Matthews", "accuracy", "F1", "mean"]
    assert lines[5].split() == ["no", "pre-training", "0.591", "0.900", "0.850", "0.733"]
    assert lines[7].split() == ["paper", "0.607", "0.898", "-"]
    assert lines[8:] == ["Measured.", "Paper: MASTER Table 7; it does not say which measure a column is."]
    assert max(map(len, lines[:8])) <= 80
    assert with_published(table, "re<mae>", {}, "x") == with_published(table, "other", PAPER_VALUES, "x") == table


def test_values_of_arms_are_compared_when_their_tables_are_one():
    rows = [["", 0.5]], [["", 0.7]]
    tables = [of_arm(Table("t", ["", Column("x", ".1f", True)], row), arm) for row, arm in zip(rows, "ab", strict=True)]
    (table,) = merged(tables)
    assert table.emphasis() == {(1, 1): BEST_OF_COLUMN}
    assert table.columns[0].name == "arm"


def test_rows_that_jobs_share_stand_once_and_keep_what_is_published():
    more = with_published(glue("no pre-training"), "no pre-training", PAPER_VALUES, "x")
    (table,) = merged([renamed(glue("re<mae>"), {"re<mae>": "re<mae> lr=1"}, ""), glue("no pre-training"), more])
    assert [row[0] for row in table.rows] == ["re<mae> lr=1", "no pre-training", "paper"]
    assert table.marked(PAPER) == [2]
    other = replace(glue("a"), title="Another")
    assert merged([glue("a"), other]) == [glue("a"), other]


def test_rows_of_one_name_are_all_kept():
    table = Table("t", ["", Column("x", ".1f")], [["a", 1.0], ["a", 2.0]])
    (found,) = merged([table, replace(table, notes=["n"])])
    assert found.rows == table.rows
    assert [row[0] for row in renamed(of_arm(table, "arm"), {"arm": "new"}, "").rows] == ["new: a", "new: a"]


def test_a_report_keeps_shows_and_prints_the_tables_of_stages(capsys):
    table = with_published(glue("re<mae>"), "re<mae>", PAPER_VALUES, "MASTER Table 7")
    report = Report("x", tables={"glue": [table]})
    assert Report.from_json(report.to_json()) == report
    page = html(report)
    assert '<section id="tables"' in page
    assert "<mae>" not in page
    assert "re&lt;mae&gt;" in page
    assert 'colspan="2">QQP<small>40,430 examples</small>' in page
    assert "<small>paper 0.607</small>" in page
    assert 'id="curves"' not in page, "tables by themselves have nothing else to show"
    assert '<section id="tables"' not in html(Report("x"))
    print_report(report, "report.html")
    printed = capsys.readouterr().out
    assert "Understanding (GLUE)" in printed
    assert "queries" not in printed


def test_every_table_has_a_file(tested):
    named = all_tables(replace(tested, tables={"glue": [glue("a"), glue("b")]}))
    assert list(named) == [
        "measures", "glue_Understanding_GLUE", "glue_Understanding_GLUE_2", "Differences_in_RR@10",
        "Differences_in_R@100",
        "diagnosis_retromae_b",
    ]  # fmt: skip
    assert list(all_tables(Report("x", arms=[Arm("a", {}, 1)]))) == ["measures"]
