"""The report as one self-contained HTML page: tables, figures and rebuilt passages, readable offline and on paper.

What stands where is written in `page.html.jinja`; here the report is brought into the form that the template prints.
"""

import re
from functools import cache
from html import escape
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bmae_lightning.report.content import Curve, Report
from bmae_lightning.report.figure import bar_figure, colours, curve_figure
from bmae_lightning.report.sample import sample_lines
from bmae_lightning.report.tables import LEVEL, measures_table, significance_tables
from bmae_lightning.runtime.files import write_text
from bmae_lightning.runtime.table import MISSING, PAPER, SUMMARY, Table, cell_text, printable

if TYPE_CHECKING:
    from jinja2 import Template


class Row(NamedTuple):
    """A row as it is printed; cells: text, whether it is bold, the published value below it, and its class."""

    name: str
    small: list[str]
    cells: list[tuple[str, bool, str, str]]


class View(NamedTuple):
    """A table as it is printed; heads and groups have small print, groups the number of their columns."""

    title: str
    groups: list[tuple[str, list[str], int]]
    heads: list[tuple[str, list[str]]]
    bodies: list[list[Row]]
    meanings: list[str]
    notes: tuple[str, ...]


def write_html(path: str | Path, report: Report) -> None:
    """Write the page; everything the report says is escaped."""
    write_text(path, html(report))


def html(report: Report) -> str:
    """The page of `report`: measures, tables, tests, cases, curves, rebuilt passages, settings."""
    tints, measures = colours(report), measures_table(report)
    return _template().render(
        report=report,
        tints={printable(name): tint for name, tint in tints.items()},
        measures=view(measures),
        published=measures.marked(PAPER),
        tables=[view(table) for tables in report.tables.values() for table in tables],
        bars=_safe(bar_figure(report)),
        along=_drawn(report.along, {}, "along"),
        differences=list(map(view, significance_tables(report))),
        level=LEVEL,
        curves=_drawn(report.curves, tints, "curve"),
        diagnoses=[
            (_drawn(part.curves, tints, f"diagnosis{i}-"), view(part.table)) for i, part in enumerate(report.diagnoses)
        ],
        samples=list(map(sample_lines, report.samples)),
    )


def view(table: Table) -> View:
    """The table in the form that the template prints: published values beside ours, rows below a rule in a body."""
    emphasis, published, below_rule = table.emphasis(), table.marked(PAPER), table.marked(SUMMARY)[:1]
    bodies: list[list[Row]] = [[]]
    for i, row in enumerate(table.rows):
        if i in published:
            continue
        beside = table.cells(i + 1) if i + 1 in published else [""] * len(row)
        cells = [
            (
                cell_text(value, column), (i, place) in emphasis, "" if beside[place] == MISSING else beside[place],
                "number" if column.format else "text",
            )
            for place, (value, column) in enumerate(zip(row, table.columns, strict=True))
        ][1:]  # fmt: skip
        if i in below_rule and i:
            bodies.append([])
        name, *small = row[0].split("\n")
        bodies[-1].append(Row(name, small, cells))
    heads = [_lines(column.name) for column in table.columns]
    parts = [(name, len(list(part))) for name, part in groupby(column.group for column in table.columns)]
    groups = [(*_lines(name), size) for name, size in parts] if any(name for name, _ in parts) else []
    return View(table.title, groups, heads, bodies, list(dict.fromkeys(emphasis.values())), table.notes)


def breakable(name: str) -> Any:
    """A name that may be broken after a dot or an equals sign, as an override needs."""
    return _safe("<wbr>".join(escape(part) for part in re.split(r"(?<=[.=_/])(?!\d)", printable(name))))


@cache
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )  # fmt: skip
    environment.filters["breakable"] = breakable
    return environment.from_string(Path(__file__).with_name("page.html.jinja").read_text(encoding="utf-8"))


def _safe(markup: str) -> Any:
    from markupsafe import Markup

    return Markup(markup)


def _lines(name: str) -> tuple[str, list[str]]:
    head, *small = name.split("\n")
    return head, [", ".join(small)] if small else []


def _drawn(curves: list[Curve], tints: dict[str, str], name: str) -> list[tuple[str, Any]]:
    """Title and figure of every curve."""
    return [
        (curve.title, _safe(curve_figure(curve, tints, name=f"{name}{i}", wide=len(curves) == 1)))
        for i, curve in enumerate(curves)
    ]
