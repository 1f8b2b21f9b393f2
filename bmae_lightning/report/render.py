"""Tables as files for papers and programs: Markdown, LaTeX (needs the package booktabs) and CSV in full precision."""

import csv
import io
import re
from collections.abc import Mapping
from pathlib import Path

from bmae_lightning.runtime.files import write_text
from bmae_lightning.runtime.table import PAPER, PUBLISHED, SUMMARY, Table, first_line, is_number, printable

LATEX = {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "−": "$-$", "–": "--"}
LATEX |= {"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}"}
LATEX |= {sign: "\\" + sign for sign in "&%$#_{}"}


def write_table_files(directory: Path, tables: Mapping[str, Table]) -> None:
    """Write every table as `directory`/NAME.md, NAME.tex and NAME.csv."""
    for name, table in tables.items():
        for ending, render in {"md": markdown, "tex": latex, "csv": csv_text}.items():
            write_text(directory / f"{name}.{ending}", render(table))


def markdown(table: Table) -> str:
    """The table in GitHub's Markdown under its title, emphasised values bold, notes below."""

    def clean(text: str) -> str:
        return re.sub(r"([\\`*_|<>\[\]])", r"\\\1", text)

    emphasis, published = table.emphasis(), table.marked(*PUBLISHED)
    heads = [
        clean(" ".join(filter(None, map(printable, (c.group + "\n" + c.name).split("\n"))))) for c in table.columns
    ]
    lines = [heads, ["---:" if column.format else "---" for column in table.columns]]
    for row in range(len(table.rows)):
        cells = list(map(clean, table.cells(row)))
        cells = [f"**{cell}**" if (row, i) in emphasis else cell for i, cell in enumerate(cells)]
        lines.append([f"*{cells[0]}*", *cells[1:]] if row in published else cells)
    body = "".join("| " + " | ".join(line) + " |\n" for line in lines)
    meanings = [f"Bold: {meaning}." for meaning in dict.fromkeys(emphasis.values())]
    below = "".join(f"\n{clean(printable(note))}\n" for note in [*meanings, *table.below()])
    return f"**{clean(printable(table.title))}**\n\n{body}{below}"


def latex(table: Table) -> str:
    """The table as a tabular, emphasised values bold; its title and notes stand around it as comments."""

    def clean(text: str) -> str:
        return "".join(LATEX.get(sign, sign) for sign in printable(text))

    emphasis, published = table.emphasis(), table.marked(PAPER)
    lines = [f"% {printable(table.title)}"]
    lines += [r"\begin{tabular}{" + "".join("r" if c.format else "l" for c in table.columns) + "}", r"\toprule"]
    if any(column.group for column in table.columns):
        heads = [rf"\multicolumn{{{size}}}{{c}}{{{clean(first_line(name))}}}" for name, size in table.groups()]
        lines.append(" & ".join(heads) + r" \\")
    lines += [" & ".join(clean(first_line(column.name)) for column in table.columns) + r" \\", r"\midrule"]
    for row in range(len(table.rows)):
        cells = list(map(clean, table.cells(row)))
        cells = [rf"\textbf{{{cell}}}" if (row, i) in emphasis else cell for i, cell in enumerate(cells)]
        lines += [r"\midrule"] * (row > 0 and row in table.marked(SUMMARY)[:1])
        lines.append(" & ".join([rf"\quad\emph{{{cells[0]}}}" if row in published else cells[0], *cells[1:]]) + r" \\")
    notes = [f"% Bold: {meaning}." for meaning in dict.fromkeys(emphasis.values())]
    notes += [f"% {printable(note)}" for note in table.below()]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", *notes]) + "\n"


def csv_text(table: Table) -> str:
    """The values in full precision, missing ones empty."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow([column.key for column in table.columns])
    for name, *values in table.rows:
        writer.writerow([first_line(name), *(v if isinstance(v, str) or is_number(v) else "" for v in values)])
    return file.getvalue()
