"""The table of GLUE: text, HTML and JSON, published values, several jobs as one table."""

from dataclasses import replace

from bmae_lightning.report.content import Report
from bmae_lightning.report.page import html
from bmae_lightning.report.scores import glue_scores, merge_scores, scores_html, scores_text
from bmae_lightning.report.table import print_report

RESULT = {
    "tasks": {
        "CoLA": {"dev": 1043, "scores": {"Matthews": 0.5912}, "by_lr": {"5e-05": {}, "2e-05": {}}},
        "QQP": {"dev": 40430, "scores": {"accuracy": 0.9, "F1": 0.85}, "by_lr": {"5e-05": {}, "2e-05": {}}},
    },
    "mean": 0.7331,
}
PAPER = {"CoLA": 0.607, "QQP": 0.898, "MRPC": 0.891}


def table(arm="re<mae>", paper=None):
    (found,) = glue_scores({"no pre-training": RESULT, arm: RESULT}, paper or {}, "MASTER Table 7")
    return found


def test_text():
    lines = scores_text(table(paper={"re<mae>": PAPER})).splitlines()
    assert lines[1].split() == ["arm", "CoLA", "QQP", "mean"]
    assert lines[2].split() == ["Matthews", "accuracy", "/", "F1"]
    assert lines[3].split() == ["1,043", "examples", "40,430", "examples"]
    assert lines[5].split() == ["no", "pre-training", "0.591", "0.900", "/", "0.850", "0.733"]
    assert lines[7].split() == ["paper", "0.607", "0.898", "-"]
    assert lines[8] == (
        "Measured on dev, after fine-tuning at the best of 2 learning rates on the same examples. "
        "Paper: MASTER Table 7; "
        "it does not say which measure a column is."
    )
    assert max(map(len, lines[:8])) <= 80


def test_no_results_no_table():
    assert glue_scores({}, {}, "") == []


def test_html_is_escaped_and_names_measures_and_examples():
    page = scores_html([table()])
    assert "re&lt;mae&gt;" in page
    assert "<mae>" not in page
    assert "<small>accuracy / F1, 40,430 examples</small>" in page


def test_a_report_keeps_and_prints_it(capsys):
    report = Report("x", "", [], [], [], {}, [], scores=[table(paper={"re<mae>": PAPER})])
    assert Report.from_json(report.to_json()) == report
    assert '<section id="scores"' in html(report)
    assert '<section id="scores"' not in html(replace(report, scores=[]))
    print_report(report, "report.html")
    printed = capsys.readouterr().out
    assert "Understanding (GLUE)" in printed
    assert "queries" not in printed


def test_jobs_of_a_sweep_make_one_table():
    names = {"re<mae>": "re<mae> lr=1", "no pre-training": "no pre-training"}
    (merged,) = merge_scores([table().renamed(names), table(paper={"no pre-training": PAPER})])
    assert list(merged.rows) == ["no pre-training", "re<mae> lr=1", "re<mae>"]
    assert merged.paper == {"no pre-training": PAPER}
    assert len(merge_scores([table(), replace(table(), examples={"CoLA": 2})])) == 2
