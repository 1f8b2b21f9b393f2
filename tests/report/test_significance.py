import json
import math
from dataclasses import replace

import pytest

from bmae_lightning.evaluation.measure.significance import Difference, differences
from bmae_lightning.report.content import Report
from bmae_lightning.report.page import html
from bmae_lightning.report.significance import paired_tests, tables, text_tables

ROW = Difference("RR@10", "retromae", "none <b>", 208, 0.0123, 0.00001, 0.03, 0.0123456, 0.049)


@pytest.fixture
def tested(report) -> Report:
    unclear = replace(ROW, arm="bm25", difference=-0.5, randomisation_holm=0.05)
    lone = replace(ROW, measure="R@100", queries=1, t=math.nan, t_holm=math.nan)
    return replace(report, differences=[ROW, unclear, lone], split="test", tested=["RR@10", "R@100"])


def test_cells(tested):
    found = tables(tested)
    assert list(found) == ["RR@10", "R@100"]
    assert found["RR@10"][0] == (
        ("retromae", "none <b>"), ["+0.012", "<0.0001", "0.0300", "0.0123", "0.0490", "208"], True,
    )  # fmt: skip
    assert [clear for _, _, clear in found["RR@10"]] == [True, False]
    assert found["R@100"][0][1][1:3] == ["–", "–"]


def test_page_and_terminal(tested, report):
    page = html(tested)
    part = page[page.index('<section id="significance"') : page.index('<section id="cases"')]
    assert "none &lt;b&gt;" in part
    assert "<strong>+0.012</strong>" in part
    assert "<strong>-0.500</strong>" not in part
    assert part.count("<details open>") == 2
    many = replace(tested, differences=[ROW] * 16)
    assert "<details><summary>RR@10: 16 pairs</summary>" in html(many)
    lines = text_tables(tested).splitlines()
    assert lines[1].startswith("retromae − none <b> *")
    assert len({len(line) for line in lines[:3]}) == 1
    assert text_tables(replace(report, differences=[])) == ""


def test_json_round_trip(tested):
    again = Report.from_json(tested.to_json())
    assert again.differences[:2] == tested.differences[:2]
    assert math.isnan(again.differences[2].t_holm)
    assert (again.split, again.tested) == ("test", ["RR@10", "R@100"])


def test_arms_that_kept_their_values_are_tested(tmp_path):
    values = {"a": {"1": 0.5, "2": 1.0}, "b": {"1": 0.0, "2": 0.5}}
    for arm in values:
        (tmp_path / arm).mkdir()
        (tmp_path / arm / "per_query.test.json").write_text(json.dumps({"RR@10": values[arm]}))
    directories = {arm: tmp_path / arm for arm in ("a", "b", "absent")}
    assert paired_tests(directories, "test", ["RR@10", "R@5"]) == differences("RR@10", values)
    assert paired_tests(directories, "dev", ["RR@10"]) == []
