"""The report as one self-contained HTML page: tables, figures and rebuilt passages, readable offline and on paper.

What stands where is written in `page.html.jinja`; here the report is brought into the form that the template prints.
"""

import re
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmae_lightning.report.content import Curve, Report
from bmae_lightning.report.figure import bar_figure, colours, curve_figure
from bmae_lightning.report.sample import sample_lines
from bmae_lightning.report.significance import LEVEL, significance_tables
from bmae_lightning.report.tables import measures_tables
from bmae_lightning.runtime.files import write_text
from bmae_lightning.runtime.table import printable

if TYPE_CHECKING:
    from jinja2 import Template


def write_html(path: str | Path, report: Report) -> None:
    """Write the page; everything the report says is escaped."""
    write_text(path, html(report))


def html(report: Report) -> str:
    """The page of `report`: measures, tables, tests, cases, curves, rebuilt passages, settings."""
    tints = colours(report)
    return _template().render(
        report=report,
        tints={printable(name): tint for name, tint in tints.items()},
        measures=measures_tables(report),
        tables=[table for tables in report.tables.values() for table in tables],
        bars=_safe(bar_figure(report)),
        along=_drawn(report.along, {}, "along"),
        differences=significance_tables(report),
        level=LEVEL,
        curves=_drawn(report.curves, tints, "curve"),
        diagnoses=[
            (_drawn(part.curves, tints, f"diagnosis{i}-"), part.table) for i, part in enumerate(report.diagnoses)
        ],
        samples=list(map(sample_lines, report.samples)),
    )


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


def _drawn(curves: list[Curve], tints: dict[str, str], name: str) -> list[tuple[str, Any]]:
    """Title and figure of every curve."""
    return [
        (curve.title, _safe(curve_figure(curve, tints, name=f"{name}{i}", wide=len(curves) == 1)))
        for i, curve in enumerate(curves)
    ]
