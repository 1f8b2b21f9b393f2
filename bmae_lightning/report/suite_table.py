"""The table of a benchmark as text, CSV and HTML, the best value of a row marked, means below; it implements no equation."""

import csv
import io
import re
from html import escape

from rich.cells import cell_len

from bmae_lightning.report.suite import DIGITS, SuiteTable
from bmae_lightning.report.table import printable

WIDTH = 110


def text(table: SuiteTable) -> str:
    """The table as aligned plain text, best values followed by `*`; wide names of retrievers become numbers."""
    lines = table.lines()
    first = max(cell_len(name) for name in ["collection", *(line[0] for line in lines)])
    room = max(6, (WIDTH - first - 10) // len(table.models) - 2)
    numbered = any(cell_len(name) > room for name in table.models)
    heads = [f"[{i}]" if numbered else printable(name) for i, name in enumerate(table.models, 1)]
    widths = [max(DIGITS + 3, cell_len(head) + 1) for head in heads]

    def line(name: str, cells: list[str], queries: str) -> str:
        padded = "".join(
            "  " + " " * (width - cell_len(cell)) + cell for cell, width in zip(cells, widths, strict=True)
        )
        return f"{printable(name)}{' ' * (first - cell_len(printable(name)))}{padded}  {queries:>8}".rstrip()

    rule = "-" * (first + sum(widths) + 2 * len(widths) + 10)
    body = [
        line(name, [value + ("*" if best else " ") for value, best in zip(values, marks, strict=True)], queries)
        for name, values, marks, queries in lines
    ]
    end = len(table.rows)
    legend = [f"[{i}] {printable(name)}" for i, name in enumerate(table.models, 1)] if numbered else []
    marked = ["* best of its row"] if len(table.models) > 1 else []
    shown = [line("collection", [f"{head} " for head in heads], "queries"), rule, *body[:end], rule, *body[end:]]
    return "\n".join([f"Zero-shot {table.measure}", *shown, *marked, *legend, *map(printable, table.below())]) + "\n"


def csv_text(tables: list[SuiteTable]) -> str:
    """All tables as one CSV file: measure, collection, queries, then a column per retriever, in full precision."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["measure", "collection", "queries", *tables[0].models])
    for table in tables:
        for row in table.rows:
            writer.writerow([table.measure, row.name, row.queries, *row.values])
        for mean in table.means:
            writer.writerow([table.measure, mean.title, "", *mean.values])
    return file.getvalue()


def section(tables: list[SuiteTable]) -> str:
    """The tables in HTML, for the page of a report."""
    parts = []
    for i, table in enumerate(tables):
        heads = "".join(f'<th scope="col">{_breakable(name)}</th>' for name in [*table.models, "queries"])
        lines = []
        for name, values, marks, queries in table.lines():
            cells = "".join(
                f'<td class="number">{f"<strong>{value}</strong>" if best else value}</td>'
                for value, best in zip(values, marks, strict=True)
            )
            lines.append(
                f'<tr><th scope="row">{escape(printable(name))}</th>{cells}<td class="number">{queries}</td></tr>'
            )
        head = f'<thead><tr><th scope="col">collection</th>{heads}</tr></thead>'
        body = "<tbody>" + "\n".join(lines[: len(table.rows)]) + "</tbody>\n<tbody>"
        body += "\n".join(lines[len(table.rows) :]) + "</tbody>"
        parts.append(
            f'<h3 id="suite{i}-head">{escape(table.measure)}</h3>\n'
            f'<div class="wide" role="region" aria-labelledby="suite{i}-head" tabindex="0">'
            f'<table class="suite">{head}\n{body}</table></div>\n'
        )
        parts.append("".join(f'<p class="about">{escape(printable(note))}</p>' for note in table.below()))
    return "".join(parts)


def _breakable(name: str) -> str:
    """A name of a retriever that may be broken inside."""
    return "<wbr>".join(escape(part) for part in re.split(r"(?<=[/_-])", printable(name)))
