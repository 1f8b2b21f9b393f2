"""Tables as Markdown, LaTeX and CSV."""

import csv
import io
import math
import re

import pytest

from bmae_lightning.report.render import csv_text, latex, markdown, write_table_files
from bmae_lightning.runtime.mean import Mean
from bmae_lightning.runtime.table import PAPER, SUMMARY, Column, Table

LONG = "retromae a_b=0.3"


@pytest.fixture
def table() -> Table:
    columns = ["arm", Column("accuracy", ".3f", True, "QQP\n5 texts"), Column("F1", ".3f", True, "QQP\n5 texts"),
               Column("50% a_b & \\x{}~^#<|>", ".1%")]  # fmt: skip
    rows = [["a|b", 0.10004, 0.2, 0.5], [LONG + "\nsmall print", 0.512, None, float("nan")], ["paper", 0.6, "", ""],
            ["mean", 0.3, 0.2, ""]]  # fmt: skip
    return Table("On 5_000 & more", columns, rows, [(2, 0, PAPER), (3, 0, SUMMARY)], ["a note"]).with_best()


def test_markdown_is_a_table_with_one_bold_best(table):
    title, _, *lines, _, meaning, _, small, _, note = markdown(table).splitlines()
    assert title == r"**On 5\_000 & more**"
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert lines[0].startswith("| arm | QQP 5 texts accuracy | QQP 5 texts F1 |")
    assert lines[2] == r"| a\|b | 0.100 | 0.200 | 50.0 % |"
    assert lines[3] == r"| retromae a\_b=0.3 | **0.512** | - | - |"
    assert lines[4].startswith("| *paper* | 0.600 |")
    assert [meaning, small, note] == ["Bold: best of its column.", r"retromae a\_b=0.3: small print", "a note"]


def test_latex_is_escaped_and_closed(table):
    shown = latex(table)
    code = [line for line in shown.splitlines() if not line.startswith("%")]
    assert code[:2] == [r"\begin{tabular}{lrrr}", r"\toprule"]
    assert code[2] == r"\multicolumn{1}{c}{} & \multicolumn{2}{c}{QQP} & \multicolumn{1}{c}{} \\"
    head = r"50\% a\_b \& \textbackslash{}x\{\}\textasciitilde{}\textasciicircum{}\#\textless{}\textbar{}\textgreater{}"
    assert code[3] == rf"arm & accuracy & F1 & {head} \\"
    assert code[6] == r"retromae a\_b=0.3 & \textbf{0.512} & - & - \\"
    assert code[7] == r"\quad\emph{paper} & 0.600 &  &  \\"
    assert code[-3:] == [r"mean & 0.300 & 0.200 &  \\", r"\bottomrule", r"\end{tabular}"]
    assert shown.count(r"\midrule") == 2
    body = re.sub(r"\\[\\&%#_{}]", "", "".join(code[2:-1]))
    assert body.count("{") == body.count("}")
    cells = {len(re.split(r"(?<!\\)&", line)) for line in code[3:-2] if line.endswith(r"\\")}
    assert cells == {4}


def test_csv_has_full_precision(table):
    lines = list(csv.reader(io.StringIO(csv_text(table))))
    assert lines[0] == ["arm", "QQP/accuracy", "QQP/F1", "50% a_b & \\x{}~^#<|>"]
    assert lines[1:3] == [["a|b", "0.10004", "0.2", "0.5"], [LONG, "0.512", "", ""]]
    assert lines[3] == ["paper", "0.6", "", ""]


@pytest.fixture
def means() -> Table:
    """Means over seeds, of which two differ from the first row, and rows that have no values."""
    columns = ["arm", Column("RR@10", ".1%", True), Column("R@100", ".3f", True)]
    rows = [["none", Mean(0.5, 0.01, 3), 0.81], ["a_b", Mean(0.525, 0.012, 3), Mean(0.9, math.nan, 2)],
            ["c", 0.51, 0.7], ["d", "failed", "failed"], ["e", "not run", ""]]  # fmt: skip
    marks = [(1, 1, "† differs from none, p < 0.05"), (2, 1, "† differs from none, p < 0.05"), (2, 2, "‡ lower")]
    return Table("t", columns, rows, marks).with_best()


def test_spread_daggers_and_rows_without_values_in_latex(means):
    rows = [line.removesuffix(r" \\") for line in latex(means).splitlines() if not line.startswith("%")]
    assert rows[4:9] == [
        r"none & 50.0 \% {\scriptsize$\pm$ 1.0 \%} & 0.810",
        r"a\_b & \textbf{52.5 \%}$^\dagger$ {\scriptsize$\pm$ 1.2 \%} & \textbf{0.900}",
        r"c & 51.0 \%$^\dagger$ & 0.700$^\ddagger$",
        r"d & \textit{failed} & \textit{failed}",
        r"e & \textit{not run} & ",
    ]
    assert rows[9:12] == [
        r"\bottomrule",
        r"\multicolumn{3}{l}{\scriptsize $^\dagger$ differs from none, p \textless{} 0.05.}",
        r"\multicolumn{3}{l}{\scriptsize $^\ddagger$ lower.}",
    ]


def test_spread_daggers_and_rows_without_values_in_markdown(means):
    lines = markdown(means).splitlines()
    assert lines[4:9] == [
        "| none | 50.0 % ± 1.0 % | 0.810 |",
        r"| a\_b | **52.5 % ± 1.2 %**† | **0.900** |",
        "| c | 51.0 %† | 0.700‡ |",
        "| d | *failed* | *failed* |",
        "| e | *not run* |  |",
    ]
    assert r"† differs from none, p \< 0.05." in lines
    assert "‡ lower." in lines


def test_csv_of_means_has_a_column_of_their_sd(means):
    lines = list(csv.reader(io.StringIO(csv_text(means))))
    assert lines == [
        ["arm", "RR@10", "RR@10 sd", "R@100", "R@100 sd"],
        ["none", "0.5", "0.01", "0.81", ""],
        ["a_b", "0.525", "0.012", "0.9", ""],
        ["c", "0.51", "", "0.7", ""],
        ["d", "failed", "", "failed", ""],
        ["e", "not run", "", "", ""],
    ]


def test_every_table_is_three_files(table, tmp_path):
    write_table_files(tmp_path / "tables", {"scores": table})
    assert {path.name: path.read_text() for path in (tmp_path / "tables").iterdir()} == {
        "scores.md": markdown(table), "scores.tex": latex(table), "scores.csv": csv_text(table),
    }  # fmt: skip


def test_a_row_that_begins_with_a_bracket_is_no_option_of_the_line_break_before_it():
    assert "\n{[}a] & 1" in latex(Table("t", ["row", Column("x", "d")], [["b", 2], ["[a]", 1]]))
