"""The table of measures (one row per arm, the best value of each column marked) for terminals, logs, Markdown, LaTeX.

All of them print the same `rows`; a published value stands in a row of its own below the arm; no equation here.
"""

import re
import sys
from dataclasses import dataclass
from pathlib import Path

from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bmae_lightning.report.content import Report, is_number
from bmae_lightning.report.scores import scores_text

MISSING = "-"
NAME_WIDTH = 20  # a name column is never squeezed below this
LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"}
LATEX |= {sign: "\\" + sign for sign in "&%$#_{}"}


@dataclass(frozen=True)
class Cell:
    """One value as it is printed, and whether it is the best of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Row:
    """One printed row: cells in the order of `Report.measures`; `arm` is its index, `paper` marks published values."""

    name: str
    cells: list[Cell]
    queries: str
    arm: int
    paper: bool = False


def decimals(report: Report) -> int:
    """Digits after the point: 4 where at least 1,000 queries carry them, else 3."""
    return 4 if report.arms and min(arm.queries for arm in report.arms) >= 1000 else 3


def rows(report: Report) -> list[Row]:
    """The table's content: per arm its row and, if it has published values, a second row with those."""
    digits = decimals(report)
    best: dict[str, float] = {}
    for measure in report.measures():
        shown = [round(arm.measures[measure], digits) for arm in report.arms if is_number(arm.measures.get(measure))]
        if len(set(shown)) > 1:
            best[measure] = max(shown)
    table = []
    for index, arm in enumerate(report.arms):
        cells = []
        for measure in report.measures():
            value = arm.measures.get(measure)
            known = is_number(value)
            text = f"{value:.{digits}f}" if known else MISSING
            cells.append(Cell(text, known and round(value, digits) == best.get(measure)))
        table.append(Row(printable(arm.name), cells, f"{arm.queries:,}", index))
        if arm.paper:
            published = [arm.paper.get(measure) for measure in report.measures()]
            texts = [f"{value:.{digits}f}" if is_number(value) else MISSING for value in published]
            table.append(Row("  paper", [Cell(text) for text in texts], "", index, paper=True))
    return table


def terminal_table(report: Report, width: int = 80) -> Table:
    """The table for a rich console of `width` columns: long names are folded, numbers never."""
    measures = report.measures()
    table = Table(title=Text(printable(report.title), style="bold"), caption=Text(_below(report)), title_justify="left")
    table.caption_justify = "left"
    table.add_column("arm", overflow="fold")
    for measure in measures:
        table.add_column(measure, justify="right", no_wrap=True)
    table.add_column("queries", justify="right", no_wrap=True)
    room = width - _numbers_width(report, gap=3) - 4
    for row in rows(report):
        cells = [Text(cell.text, style="bold green" if cell.best else "") for cell in row.cells]
        name = Text("\n".join(fold(row.name, room)))
        table.add_row(name, *cells, row.queries, style="dim" if row.paper else "")
    return table


def text_table(report: Report, width: int = 80) -> str:
    """The table as plain aligned text, best values followed by `*`; wider than `width` only if numbers need it."""
    table = rows(report)
    room = max(NAME_WIDTH, width - _numbers_width(report, gap=2))
    names = [fold(row.name, room) for row in table]
    first = max([cell_len(line) for name in names for line in name] + [len("arm")])
    heads = [*report.measures(), "queries"]
    body = [[*(cell.text + ("*" if cell.best else " ") for cell in row.cells), row.queries] for row in table]
    # A value ends in its mark or in a space, so its head is set one column further left to stand above the digits.
    heads = [head + " " for head in heads[:-1]] + heads[-1:]
    widths = [max(cell_len(line[i]) for line in [heads, *body]) for i in range(len(heads))]

    def line(name: str, cells: list[str]) -> str:
        aligned = "".join("  "[: 1 if i else 2] + _right(cell, widths[i]) for i, cell in enumerate(cells))
        return (name + " " * (first - cell_len(name)) + aligned).rstrip()

    lines = [line("arm", heads), "-" * (first + 1 + sum(w + 1 for w in widths))]
    for name, cells in zip(names, body, strict=True):
        lines += [line(name[0], cells), *("  " + rest if room > 2 else rest for rest in name[1:])]
    if any(cell.best for row in table for cell in row.cells):
        lines.append("* best of its column")
    return "\n".join(lines) + "\n"


def print_report(report: Report, path: str | Path | None = None) -> None:
    """Print the table, and where its page lies: in colour on a terminal, as plain aligned text elsewhere."""
    console = Console(highlight=False, soft_wrap=False)
    table = terminal_table(report, console.width)
    if console.is_terminal and not console.is_dumb_terminal:
        needed = console.measure(table, options=console.options.update(max_width=10_000)).minimum
        if needed <= console.width:
            if report.arms:
                console.print(table)
            for other in report.scores:
                console.print(Text("\n" + scores_text(other)), soft_wrap=True)
            if path:
                console.print(Text(f"report: {path}"), soft_wrap=True)
            return
    measures = text_table(report) if report.arms or not report.scores else ""
    parts = [printable(report.title), measures, _below(report), *map(scores_text, report.scores)]
    text = "\n".join(filter(None, parts))
    print_text(text + (f"\nreport: {path}\n" if path else "\n"))


def print_text(text: str) -> None:
    """Write to standard output what its encoding can show."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def markdown_table(report: Report) -> str:
    """The table in GitHub's Markdown, best values bold."""

    def clean(text: str) -> str:
        return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", text.strip())

    heads = ["arm", *report.measures(), "queries"]
    lines = [heads, ["---", *["---:"] * (len(heads) - 1)]]
    for row in rows(report):
        name = f"*{row.name.strip()}*" if row.paper else clean(row.name)
        lines.append([name, *(f"**{c.text}**" if c.best else c.text for c in row.cells), row.queries])
    return "".join("| " + " | ".join(line) + " |\n" for line in lines)


def latex_table(report: Report) -> str:
    """The table as a LaTeX tabular (needs the booktabs package), best values bold."""

    def clean(text: str) -> str:
        return "".join(LATEX.get(sign, sign) for sign in text.strip())

    heads = ["arm", *report.measures(), "queries"]
    lines = [r"\begin{tabular}{l" + "r" * (len(heads) - 1) + "}", r"\toprule"]
    lines += [" & ".join(map(clean, heads)) + r" \\", r"\midrule"]
    for row in rows(report):
        name = r"\quad\emph{paper}" if row.paper else clean(row.name)
        cells = [rf"\textbf{{{cell.text}}}" if cell.best else cell.text for cell in row.cells]
        lines.append(" & ".join([name, *cells, row.queries]) + r" \\")
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}"]) + "\n"


def fold(name: str, width: int) -> list[str]:
    """Split a name into lines of at most `width` columns, after a space or one of `.=_-/,+` (not inside a number)."""
    width = max(width, NAME_WIDTH)
    lines = [""]
    for part in re.split(r"(?<=[ .=_\-/,+])(?!\d)", name):
        if cell_len(lines[-1] + part.rstrip()) > width and lines[-1].strip():
            lines.append("")
        lines[-1] += part
        while cell_len(lines[-1].rstrip()) > width:
            cut = next(i for i in range(len(lines[-1]), 0, -1) if cell_len(lines[-1][:i]) <= width)
            lines[-1:] = [lines[-1][:cut], lines[-1][cut:]]
    return [line.rstrip() for line in lines]


def printable(text: str) -> str:
    """The text on one line, without control characters (a terminal would obey them)."""
    return "".join(sign if sign.isprintable() else " " for sign in text).strip()


def _numbers_width(report: Report, gap: int) -> int:
    table = rows(report)
    columns = [[head, *(row.cells[i].text for row in table)] for i, head in enumerate(report.measures())]
    columns.append(["queries", *(row.queries for row in table)])
    return sum(max(map(cell_len, column)) + gap for column in columns) + 2


def _right(text: str, width: int) -> str:
    return " " * (width - cell_len(text)) + text


def _below(report: Report) -> str:
    lines = []
    for arm in report.arms:
        published = f"paper: {arm.paper_source}" if arm.paper and arm.paper_source else ""
        lines += [f"{printable(arm.name)}: {printable(text)}" for text in (arm.note, published) if text]
    return "\n".join(lines)
