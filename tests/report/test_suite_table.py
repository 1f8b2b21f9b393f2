"""The table of a benchmark: means with their number, the best of a row, wide names; text, CSV and HTML agree."""

import csv
import io

import pytest

from bmae_lightning.report.content import Report
from bmae_lightning.report.page import html
from bmae_lightning.report.suite import SuiteMean, SuiteRow, SuiteTable
from bmae_lightning.report.suite_table import csv_text, text


@pytest.fixture
def table():
    rows = [SuiteRow("NFCorpus", [0.3251, 0.3249], 323), SuiteRow("Forums", [0.5, 0.61], 13145, parts=12)]
    means = [SuiteMean("beir3", [0.41255, 0.46745], ["NFCorpus", "Forums"], ["BioASQ"])]
    return SuiteTable("nDCG@10", ["bm25", "<mine>"], rows, means, ["a note"])


def test_text(table):
    lines = text(table).splitlines()
    assert lines[0] == "Zero-shot nDCG@10"
    assert [line.split() for line in lines[1:]] == [
        ["collection", "bm25", "<mine>", "queries"],
        [lines[2]],
        ["NFCorpus", "0.325", "0.325", "323"],
        ["Forums", "0.500", "0.610*", "13,145"],
        [lines[2]],
        ["average", "of", "2", "(of", "3,", "beir3)", "0.413", "0.467*"],
        ["*", "best", "of", "its", "row"],
        ["Forums:", "unweighted", "mean", "of", "12", "collections."],
        ["beir3", "without", "BioASQ."],
        ["a", "note"],
    ]
    assert set(lines[2]) == {"-"}
    digits = {line.index("0.325") for line in lines if "0.325" in line} | {lines[4].index("0.500")}
    assert len(digits) == 1, "the digits of a column stand below each other"


def test_wide_names_become_numbers():
    names = [f"organisation/retriever-{i}" for i in range(6)]
    table = SuiteTable("R@100", names, [SuiteRow("x", [0.1] * 6, 5)], [SuiteMean("", [0.1] * 6, ["x"], [])], [])
    lines = text(table).splitlines()
    assert max(map(len, lines)) <= 110
    assert "[6] organisation/retriever-5" in lines
    assert "average of 1 " in text(table)


def test_csv_has_full_precision(table):
    lines = list(csv.reader(io.StringIO(csv_text([table, table]))))
    assert lines[0] == ["measure", "collection", "queries", "bm25", "<mine>"]
    assert lines[1] == ["nDCG@10", "NFCorpus", "323", "0.3251", "0.3249"]
    assert lines[3][:3] == ["nDCG@10", "average of 2 (of 3, beir3)", ""]
    assert len(lines) == 7


def test_the_page_and_the_machine_say_the_same(table):
    report = Report("x", "", [], [], [], {}, [], suites=[table])
    assert Report.from_json(report.to_json()) == report
    page = html(report)
    assert "&lt;mine&gt;" in page
    assert "<mine>" not in page
    assert '<td class="number"><strong>0.610</strong></td>' in page
    assert "beir3 without BioASQ." in page
    assert 'id="curves"' not in page, "a suite by itself has nothing else to show"
    assert 'id="suite"' not in html(Report("x", "", [], [], [], {}, []))
