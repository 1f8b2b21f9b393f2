"""Printed values and tables as options hold them: what is refused, and what their heads are."""

import pytest

from bmae_lightning.report.printed import PrintedColumn, as_printed, check_options, check_results, read_row, read_table
from bmae_lightning.runtime.errors import BadInput

TARGETS = {"evaluate": "evaluate.Evaluate", "evaluate2": "evaluate.Evaluate", "rerank": "rerank.Rerank",
           "suite": "suite.Suite", "glue": "glue.Glue"}  # fmt: skip
STAGES = {name: {"_target_": f"bmae_lightning.stage.{place}", "inputs": {}} for name, place in TARGETS.items()}
STAGES["suite"]["sets"] = {"beir": {"nq": "NQ", "quora": "Quora"}}


def test_values_by_place_stage_and_measure():
    found = check_results({"msmarco/dev": {"rerank": {"RR@10": 1, "R@50": None}}, "nq/test": {"evaluate": {}}}, STAGES)
    assert found == {"msmarco/dev": {"rerank": {"RR@10": 1.0}}, "nq/test": {"evaluate": {}}}


@pytest.mark.parametrize(
    ("results", "message"),
    [
        (0.3553, "paper_results must be values by collection/split, stage and measure"),
        ({"RR@10": 0.4}, r"paper_results.RR@10: 'RR@10' is not collection/split; use paper_results=\{COLLECTION"),
        ({"evaluate": {"RR@10": 0.4}}, "paper_results.evaluate: 'evaluate' is not collection/split"),
        ({"msmarco/": {"evaluate": {}}}, "is not collection/split"),
        ({"nq/test": 0.4}, r"paper_results.nq/test must be values by stage and measure"),
        ({"nq/test": {"rerank": 0.4}}, "paper_results.nq/test.rerank must be values by measure"),
        ({"nq/test": {"rerenk": {}}}, "paper_results.nq/test.rerenk: .* did you mean 'rerank'"),
        *(({"a/b": {"rerank": {"RR@10": value}}}, r"paper_results.a/b.rerank.RR@10 must lie in 0..1")
          for value in (35.5, -0.1, "0.3", True, float("nan"))),
    ],
)  # fmt: skip
def test_wrong_values_are_refused(results, message):
    with pytest.raises(ValueError, match=message):
        check_results(results, STAGES)


TWICE = {"a/b": {"evaluate": {"RR@5": 0.1}, "rerank": {"RR@5": 0.2}}}
"""Printed values of one place and measure for two stages."""


def options(**given):
    """A resolved configuration with two stages."""
    return {"paper_row": None, "paper_table": None, "paper_results": None} | STAGES | given


def table(columns, **more):
    return {"title": "T", "columns": columns} | more


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"paper_row": "MASTER"}, "paper_row must have label, system, from, digits by name, got 'MASTER'"),
        ({"paper_row": {"label": "a", "sistem": "b"}}, "unknown option 'paper_row.sistem'; did you mean 'system'"),
        ({"paper_row": {"label": {"evaluat": "a"}}}, "paper_row.label: there is no stage 'evaluat'; did you mean"),
        ({"paper_row": {"label": "a", "digits": -1}}, "paper_row: digits must be at least 0"),
        ({"paper_results": {"RR@10": 0.3}}, "is not collection/split"),
        ({"paper_table": table(["msmarco/RR@10"])}, "'msmarco/RR@10' must be collection/split/stage/measure"),
        ({"paper_table": table(["msmarco/dev/evaluate3/RR@10"])}, "paper_table.columns: there is no stage 'evaluate3'"),
        ({"paper_table": table(["a/b/c"], unit="percents")}, "paper_table: unit must be one of percent"),
        ({"paper_table": table(["a/b/c"], references=[{"label": "x"}])}, r"paper_table.references\[0\].*why, values"),
        ({"paper_table": table(["a/b/c"], references=[{"label": "x", "why": "y", "values": []}])}, "0 values, not 1"),
        ({"paper_table": table(["a/b/c"], references=[{"label": "x", "why": "y", "values": [40]}])}, "lie in 0..1"),
        (
            {"paper_table": table(["a/b/RR@5"]), "paper_results": TWICE},
            "a/b/RR@5 is printed for evaluate and rerank: name",
        ),
        ({"paper_table": table(["a/b/rerank/RRR@5"])}, "unknown measure 'RRR@5'"),
        (
            {"paper_table": table(["beir/test/suite/Quoora"])},
            "columns: no column is called 'Quoora'; did you mean 'Quora'",
        ),
        (
            {"paper_results": {"glue/dev": {"glue": {"CoLa": 0.6}}}},
            "glue/dev.glue: no column is called 'CoLa'; did you",
        ),
        ({"paper_results": {"a/b": {"rerank": {"MMR@10": 0.6}}}}, "unknown measure 'MMR@10'"),
    ],
)
def test_wrong_options_are_refused(given, message):
    with pytest.raises(BadInput, match=message):
        check_options(options(**given))


def test_what_is_right_passes():
    by_stage = {"label": {"evaluate": "x", "rerank": "y"}, "system": "S", "from": "master", "digits": 3}
    check_options(options(paper_row=by_stage, paper_results=TWICE, paper_table=table(["a/b/RR@5"])))
    check_options(options(paper_results=TWICE, paper_table=table(["a/b/rerank/RR@5", "beir/test/suite/AVERAGE"])))
    check_options(options(paper_results={"glue/dev": {"glue": {"CoLA": 0.6, "mean": 0.5}}}))
    check_options(options(paper_table=table(["mine/x/rerank/ms"], unit="milliseconds")))
    check_options(options())
    assert read_row(by_stage).origin == "master"
    assert read_row(None, "retromae").labels() == {"": "retromae"}
    slow = {"label": "x", "why": "y", "values": [5.8], "from": None}
    assert read_table(table(["a/b/c"], unit="milliseconds", references=[slow])).references[0].values == [5.8]


def test_heads_are_as_printed():
    def head(key):
        column = PrintedColumn.read(key).head(".1f", True, {"evaluate": "retriever1"})
        return column.group, column.name

    assert head("msmarco/dev/RR@10") == ("MS MARCO dev", "RR@10")
    assert head("msmarco/dl19/evaluate/nDCG@10") == ("TREC DL 19, retriever1", "nDCG@10")
    assert head("nq/test/evaluate2/answer_R@20") == ("NQ test, evaluate2", "R@20")
    assert head("mine/x/RR@10") == ("mine/x", "RR@10")
    assert head("beir/test/suite/NQ") == ("", "NQ")


def test_what_is_not_measured_stands_as_printed():
    results = {
        "msmarco/dev": {"evaluate": {"RR@10": 0.38}, "rerank": {"RR@10": 0.437}}, "nq/test": {"rerank": {}},
        "beir/test": {"suite": {"NQ": 0.5}},
    }  # fmt: skip
    names = {"evaluate": "a", "suite": "a", "rerank": "a re-ranked"}
    (found,) = as_printed(results, "T 5", names, "another collection (test)")
    assert found.title == "As printed: T 5"
    assert [column.key for column in found.columns] == ["", "MS MARCO dev/RR@10", "BEIR/NQ"]
    assert [found.cells(row) for row in range(2)] == [["a", "0.380", "0.500"], ["a re-ranked", "0.437", ""]]
    assert found.notes == ("Printed, and not measured by this run, which is of another collection (test).",)
    assert as_printed({"nq/test": {"rerank": {}}}, "", names, "x") == []
