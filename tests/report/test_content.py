import json
import math

import pytest

from bmae_lightning.report.content import Arm, Report, read_report, row_name, write_report
from bmae_lightning.runtime.errors import BadInput


def test_measures_in_order_of_appearance(report):
    assert report.measures() == ["RR@10", "nDCG@10", "R@100", "P@5"]
    arms = [Arm("a", {"R@5": 0.1}, 1, paper={"RR@10": 0.4, "R@5": 0.2}), Arm("b", {"AP": 0.1}, 1)]
    assert Report("", arms=arms).measures() == ["R@5", "AP", "RR@10"]


def test_measure_known_only_from_the_paper_has_a_column():
    report = Report("", "", [Arm("a", {}, 1, paper={"RR@10": 0.4})])
    assert report.measures() == ["RR@10"]


def test_json_round_trip(report):
    again = Report.from_json(report.to_json())
    assert math.isnan(again.arms[1].measures.pop("R@100"))
    assert math.isnan(report.arms[1].measures.pop("R@100"))
    assert math.isnan(again.curves[0].series["encoder"].pop()[1])
    report.curves[0].series["encoder"].pop()
    again.curves[0].series["encoder"], report.curves[0].series["encoder"] = [], []
    assert again == report


def test_what_a_file_leaves_out_takes_its_default(report):
    content = json.loads(report.to_json())
    del content["diagnoses"]
    for arm in content["arms"]:
        del arm["paper_source"]
    for curve in content["curves"]:
        del curve["dashed"], curve["linear"]
    again = Report.from_json(json.dumps(content))
    assert again.diagnoses == []
    assert [arm.name for arm in again.arms] == [arm.name for arm in report.arms]


def test_json_is_strict(report):
    def refuse(constant):
        raise AssertionError(constant)

    json.loads(report.to_json(), parse_constant=refuse)


@pytest.mark.parametrize("text", ["{}", "[]", "{", '{"format": 99}', '{"format": 3}', '{"format": 3, "titel": ""}'])
def test_other_json_is_refused(text):
    with pytest.raises(ValueError):
        Report.from_json(text)


def test_round_trip_through_a_file(report, tmp_path):
    write_report(tmp_path / "new" / "report.json", report)
    assert read_report(tmp_path / "new" / "report.json").to_json() == report.to_json()


@pytest.mark.parametrize("content", [None, "{"])
def test_an_absent_or_broken_file_is_named(tmp_path, content):
    if content:
        (tmp_path / "report.json").write_text(content)
    with pytest.raises(BadInput, match="report.json"):
        read_report(tmp_path / "report.json")


def test_names_of_rows():
    assert row_name("none", "") == "no pre-training"
    assert row_name("retromae", "retriever2") == "retromae retriever2"
    assert row_name("", "bm25") == "bm25"
