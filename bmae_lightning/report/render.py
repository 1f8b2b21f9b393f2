"""Tables as files for papers and programs: Markdown, LaTeX (needs the package booktabs) and CSV in full precision."""

import csv
import io
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from bmae_lightning.runtime.files import write_text
from bmae_lightning.runtime.mean import Mean
from bmae_lightning.runtime.table import (
    FAILED,
    NOT_RUN,
    PAPER,
    PUBLISHED,
    SUMMARY,
    Table,
    first_line,
    is_number,
    printable,
)

LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$", "–": "--"}
LATEX |= {"[": "{[}", "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
LATEX |= {"†": r"$^\dagger$", "‡": r"$^\ddagger$", "±": r"$\pm$", "τ": r"$\tau$"}
LATEX |= {sign: "\\" + sign for sign in "&%$#_{}"}


def write_table_files(directory: Path, tables: Mapping[str, Table]) -> None:
    """Write every table as `directory`/NAME.md, NAME.tex and NAME.csv."""
    for name, table in tables.items():
        for ending, render in {"md": markdown, "tex": latex, "csv": csv_text}.items():
            write_text(directory / f"{name}.{ending}", render(table))


def markdown(table: Table) -> str:
    """The table in GitHub's Markdown under its title, emphasised values bold, daggers behind them, notes below."""

    def clean(text: str) -> str:
        return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", text)

    def code(text: str) -> str:
        quote = "``" if "`" in text else "`"
        return f"{quote}{text}{quote}".replace("|", r"\|") if text else ""

    emphasis, signs, published = table.emphasis(), table.signs(), table.marked(*PUBLISHED)
    heads = [
        clean(" ".join(filter(None, map(printable, (c.group + "\n" + c.name).split("\n"))))) for c in table.columns
    ]
    lines = [heads, ["---:" if column.format else "---" for column in table.columns]]
    for row in range(len(table.rows)):
        cells = [
            code(cell) if about.code else clean(cell)
            for cell, about in zip(table.cells(row), table.columns, strict=True)
        ]
        cells = [f"*{cell}*" if cell in (FAILED, NOT_RUN) else cell for cell in cells]
        cells = [f"**{cell}**" if (row, i) in emphasis else cell for i, cell in enumerate(cells)]
        cells = [cell + signs.get((row, i), "") for i, cell in enumerate(cells)]
        lines.append([f"*{cells[0]}*", *cells[1:]] if row in published else cells)
    body = "".join("| " + " | ".join(line) + " |\n" for line in lines)
    meanings = [f"Bold: {meaning}." for meaning in dict.fromkeys(emphasis.values())]
    meanings += [f"{sign} {meaning}." for sign, meaning in table.daggers().items()]
    below = "".join(f"\n{clean(printable(note))}\n" for note in [*meanings, *table.below()])
    return f"**{clean(printable(table.title))}**\n\n{body}{below}"


def latex(table: Table) -> str:
    """The table as a tabular, emphasised values bold, daggers explained below; title and notes around it as comments.

    Of a mean over runs the spread is small and never bold. Code is among the comments.
    """
    table = _without_code(table)
    emphasis, signs, published = table.emphasis(), table.signs(), table.marked(PAPER)

    def cell(row: int, column: int, shown: str) -> str:
        mean, _, spread = shown.partition(" ± ") if isinstance(table.rows[row][column], Mean) else (shown, "", "")
        mean = _in_latex(mean) if mean not in (FAILED, NOT_RUN) else rf"\textit{{{mean}}}"
        mean = rf"\textbf{{{mean}}}" if (row, column) in emphasis else mean
        mean += _in_latex(signs.get((row, column), ""))
        return mean + (rf" {{\scriptsize$\pm$ {_in_latex(spread)}}}" if spread else "")

    lines = [f"% {printable(table.title)}"]
    lines += [r"\begin{tabular}{" + "".join("r" if c.format else "l" for c in table.columns) + "}", r"\toprule"]
    if any(column.group for column in table.columns):
        heads = [rf"\multicolumn{{{size}}}{{c}}{{{_in_latex(first_line(name))}}}" for name, size in table.groups()]
        lines.append(" & ".join(heads) + r" \\")
    lines += [" & ".join(_in_latex(first_line(column.name)) for column in table.columns) + r" \\", r"\midrule"]
    for row in range(len(table.rows)):
        cells = [cell(row, i, shown) for i, shown in enumerate(table.cells(row))]
        lines += [r"\midrule"] * (row > 0 and row in table.marked(SUMMARY)[:1])
        lines.append(" & ".join([rf"\quad\emph{{{cells[0]}}}" if row in published else cells[0], *cells[1:]]) + r" \\")
    meanings = [_in_latex(f"{sign} {meaning}.") for sign, meaning in table.daggers().items()]
    below = [rf"\multicolumn{{{len(table.columns)}}}{{l}}{{\scriptsize {line}}} \\" for line in meanings]
    notes = [f"% Bold: {meaning}." for meaning in dict.fromkeys(emphasis.values())]
    notes += [f"% {printable(note)}" for note in table.below()]
    return "\n".join([*lines, r"\bottomrule", *below, r"\end{tabular}", *notes]) + "\n"


def _without_code(table: Table) -> Table:
    """The table with what stands in columns of code as notes, each text once, behind the rows that it is of."""
    kept = [i for i, column in enumerate(table.columns) if not column.code]
    named: dict[str, dict[str, None]] = {}
    for row in table.rows:
        for i in set(range(len(row))) - set(kept):
            named.setdefault(row[i], {})[first_line(row[0])] = None
    return replace(
        table,
        columns=[table.columns[i] for i in kept],
        rows=[[row[i] for i in kept] for row in table.rows],
        marks=[(row, kept.index(column), meaning) for row, column, meaning in table.marks if column in kept],
        notes=(*table.notes, *(f"{', '.join(rows)}: {code}" for code, rows in named.items() if code)),
    )


def _in_latex(text: str) -> str:
    return "".join(LATEX.get(sign, sign) for sign in printable(text))


def csv_text(table: Table) -> str:
    """The values in full precision, missing ones empty; a column of means over runs has one of their sd behind it."""
    spread = [any(isinstance(row[i], Mean) for row in table.rows) for i in range(len(table.columns))]

    def line(values: Iterable[Any], beside: Iterable[Any]) -> list[Any]:
        return [
            cell for value, sd, wide in zip(values, beside, spread, strict=True) for cell in [value, sd][: 1 + wide]
        ]

    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    keys = [column.key for column in table.columns]
    writer.writerow(line(keys, [f"{key} sd" for key in keys]))
    for name, *values in table.rows:
        shown = [first_line(name), *(v if isinstance(v, str) or is_number(v) else "" for v in values)]
        writer.writerow(line(shown, [v.sd if isinstance(v, Mean) and is_number(v.sd) else "" for v in (name, *values)]))
    return file.getvalue()
