import io
import re
import sys
from dataclasses import replace

import pytest
from rich.console import Console

from bmae_lightning.report.content import Arm, Report
from bmae_lightning.report.table import (
    fold,
    latex_table,
    markdown_table,
    print_report,
    rows,
    terminal_table,
    text_table,
)

LONG = "retromae decoders.enhanced.mask.rate=0.3"


def five(*values: float) -> dict[str, float]:
    return dict(zip(["RR@10", "nDCG@10", "R@50", "R@100", "R@1000"], values, strict=True))


def best(report: Report) -> set[tuple[str, str]]:
    return {(row.name, m) for row in rows(report) for m, c in zip(report.measures(), row.cells, strict=True) if c.best}


def test_best_value_is_marked_and_ties_as_printed_share_it(report):
    tied = {("no pre-training", "nDCG@10"), (LONG, "nDCG@10")}
    assert best(report) == {(LONG, "RR@10"), (LONG, "R@100")} | tied  # P@5 is equal everywhere: no best


def test_decimals_grow_with_the_queries(report):
    assert rows(report)[0].cells[0].text == "0.491"
    many = replace(report, arms=[replace(arm, queries=6980) for arm in report.arms])
    assert rows(many)[0].cells[0].text == "0.4912"
    assert rows(many)[0].queries == "6,980"


def test_missing_and_published_values_have_their_places(report):
    _, plain, ours, paper = rows(report)
    assert [cell.text for cell in plain.cells] == ["0.503", "0.551", "-", "-"]
    assert paper.paper
    assert paper.arm == ours.arm == 2
    assert [cell.text for cell in paper.cells] == ["0.416", "-", "-", "-"]


def test_text_table_of_five_measures_fits_80_columns_and_is_aligned():
    arms = [Arm("BM25", five(0.49, 0.53, 0.8, 0.86, 0.95), 208), Arm(LONG, five(0.51, 0.55, 0.83, 0.89, 0.97), 208)]
    lines = text_table(Report("", "", arms, [], [], {}, [])).splitlines()
    assert max(map(len, lines)) <= 80
    head, first, second = lines[0], lines[2], lines[3]
    for name, low, high in [("RR@10", "0.490", "0.510*"), ("R@1000", "0.950", "0.970*")]:
        end = head.index(f" {name} ") + len(name) + 1
        assert first[:end].endswith(low)
        assert second[: end + 1].endswith(high)
    assert head.endswith("queries")
    assert re.sub(r"[\s\d.*]", "", lines[3] + lines[4]) == re.sub(r"[\s\d.]", "", LONG)


def test_text_table_is_wide_rather_than_cut():
    arms = [Arm(LONG, {f"Success@{i}": 0.123 for i in range(12)}, 208)]
    table = text_table(Report("", "", arms, [], [], {}, []))
    assert table.count("0.123") == 12
    assert "…" not in table


def test_terminal_table_at_80_columns_keeps_every_number():
    arms = [Arm(LONG, five(0.51, 0.55, 0.83, 0.89, 0.97), 208), Arm("[red]x", five(0.1, 0.2, 0.3, 0.4, 0.5), 208)]
    console = Console(file=io.StringIO(), width=80, force_terminal=True, highlight=False)
    console.print(terminal_table(Report("t", "", arms, [], [], {}, []), 80))
    coloured = console.file.getvalue()
    text = re.sub(r"\x1b\[[0-9;]*m", "", coloured)
    for part in ["RR@10", "R@1000", "queries", "208", "0.510", "0.970", "[red]x", "retromae"]:
        assert part in text
    assert "…" not in text
    assert "\x1b[1;32m0.510" in coloured
    assert "\x1b[1;32m0.100" not in coloured


@pytest.mark.parametrize("width", [20, 24, 30])
def test_fold_loses_nothing_and_spares_numbers(width):
    lines = fold(LONG + " " + "x" * 45, width)
    assert max(map(len, lines)) <= width
    assert "".join(lines).replace(" ", "") == (LONG + "x" * 45).replace(" ", "")
    assert any("0.3" in line for line in lines)


def test_print_elsewhere_than_on_a_terminal_is_plain_text(report, capsys):
    print_report(report, "out/report.html")
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert text.endswith("report: out/report.html\n")
    assert "0.512*" in text
    assert "BM25: k1=0.9 <b>" in text
    assert f"{LONG}: paper: Table <6>" in text


def test_print_to_an_ascii_stream_does_not_fail(report, monkeypatch):
    stream = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", stream)
    print_report(replace(report, arms=[Arm("é\x1b[2J", {"RR@10": 0.5}, 1)]), "x")
    stream.seek(0)
    assert "? [2J" in stream.read()  # neither the letter nor the escape sequence gets through


def test_markdown_is_a_table_with_one_bold_best(report):
    lines = markdown_table(report).splitlines()
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines}) == 1
    assert lines[4].startswith(f"| {LONG.replace('_', chr(92) + '_')} | **0.512** | **0.551** |")
    piped = replace(report, arms=[Arm("a|b", {"RR@10": 0.1}, 1)])
    assert r"a\|b" in markdown_table(piped)


def test_latex_is_escaped(report):
    table = latex_table(replace(report, arms=[*report.arms, Arm("50% a_b & \\x{}", {"RR@10": 0.1}, 1)]))
    assert r"50\% a\_b \& \textbackslash{}x\{\} & 0.100" in table
    assert r"\textbf{0.512}" in table
    assert table.startswith(r"\begin{tabular}{lrrrrr}")
