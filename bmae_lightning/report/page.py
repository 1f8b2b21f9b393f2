"""The report as one self-contained HTML page: tables, figures and rebuilt passages, readable offline and on paper.

What stands where is written in `page.html.jinja`; here the report is brought into the form that the template prints.
The page asks for nothing: styles (`page.css`) and the script that sorts tables (`page.js`) stand in it, and its content
policy allows this script alone, by its digest. Without the script nothing is missing but the sorting.
"""

import base64
import hashlib
import math
import re
from dataclasses import replace
from functools import cache
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmae_lightning.report.bars import about_whiskers, bars
from bmae_lightning.report.behind import behind_tables
from bmae_lightning.report.content import Answer, Curve, Report
from bmae_lightning.report.figure import colours, curve_figure
from bmae_lightning.report.sample import sample_lines
from bmae_lightning.report.significance import significance_tables
from bmae_lightning.report.tables import measures_tables
from bmae_lightning.report.verdict import NOT_COMPARABLE, VERDICTS
from bmae_lightning.runtime.files import write_text
from bmae_lightning.runtime.ledger import DONE, INTERRUPTED, PLANNED, RUNNING
from bmae_lightning.runtime.table import FAILED, NOT_RUN, Table, first_line, is_number, printable

if TYPE_CHECKING:
    from jinja2 import Template

MANY = 9
"""Columns of a table above which its section is printed on pages of its own, across."""
LONG = 20
"""Signs of a name above which it is a long one."""
TONES = {FAILED: "bad", INTERRUPTED: "bad", NOT_RUN: "off", PLANNED: "off", RUNNING: "middling", DONE: "good"}
TONES |= dict(zip(VERDICTS, ("good", "middling", "bad"), strict=True))
"""What stands in a cell -> the class of the cell."""


def write_html(path: str | Path, report: Report) -> None:
    """Write the page; everything the report says is escaped."""
    write_text(path, html(report))


def html(report: Report) -> str:
    """The page of `report`: what was found, tables, tests, figures, cases, rebuilt passages, jobs, settings."""
    tints, differences, script = colours(report), significance_tables(report), _part("page.js")
    return _template().render(
        report=report,
        tints={printable(name): tint for name, tint in tints.items()},
        measures=measures_tables(report),
        single=measures_tables(replace(report, arms=report.single)) if report.single else [],
        tables=[table for tables in report.tables.values() for table in tables],
        behind=behind_tables(report),
        bars=bars(report),
        whiskers=about_whiskers(report),
        along=_drawn(report.along, {}, "along"),
        differences=differences,
        tested=_told(differences),
        curves=_drawn(report.curves, tints, "curve"),
        diagnoses=[
            (_drawn(part.curves, tints, f"diagnosis{i}-"), part.table) for i, part in enumerate(report.diagnoses)
        ],
        samples=list(map(sample_lines, report.samples)),
        many=MANY,
        style=_safe(_part("page.css")),
        script=_safe(script),
        script_hash="sha256-" + base64.b64encode(hashlib.sha256(f"\n{script}".encode()).digest()).decode(),
    )


def _told(tables: list[Table]) -> list[str]:
    """What marks mean and notes say, of several tables once."""
    meanings = [f"Bold: {meaning}." for table in tables for meaning in table.emphasis().values()]
    return list(dict.fromkeys([*meanings, *(note for table in tables for note in table.notes)]))


def breakable(name: str) -> Any:
    """A name that may be broken after a dot or an equals sign, as an override needs."""
    return _safe("<wbr>".join(escape(part) for part in re.split(r"(?<=[.=_/])(?!\d)", printable(name))))


def tone(cell: str) -> Any:
    """A further class of a cell by what stands in it, after a blank; empty for most."""
    found = "off" if cell.startswith(NOT_COMPARABLE) else TONES.get(cell)
    return _safe(f" {found}" if found else "")


def sorted_by(value: Any) -> Any:
    """The attribute by which a number is sorted."""
    return _safe(f' data-v="{float(value):.10g}"') if is_number(value) else ""


def has_long_names(table: Table) -> bool:
    """Whether the first column needs the room that a phone can give it."""
    return any(len(first_line(row[0])) > LONG for row in table.rows)


def places(answer: Answer) -> list[str]:
    """Where the arms rank the passage that should have been found: a line for each place."""
    by_place: dict[str, list[str]] = {}
    for arm, place in sorted(answer.places.items(), key=lambda item: item[1].rank or math.inf):
        at = f"rank {place.rank:,}" if place.rank else f"not in the top {place.depth:,}"
        by_place.setdefault(at if place.depth else "nothing found", []).append(printable(arm))
    return [f"{at}: {', '.join(arms)}" for at, arms in by_place.items()]


@cache
def _part(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


@cache
def _template() -> "Template":
    from jinja2 import Environment, StrictUndefined

    environment = Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined,
        finalize=lambda value: printable(value) if type(value) is str else value,
    )  # fmt: skip
    environment.filters |= {"breakable": breakable, "tone": tone, "sorted_by": sorted_by, "places": places}
    environment.filters["has_long_names"] = has_long_names
    environment.filters |= {"printable": printable, "percent": lambda share: f"{100 * share:.4g}%"}
    environment.filters["small_print"] = lambda value: value.split("\n")[1:] if isinstance(value, str) else ()
    return environment.from_string(_part("page.html.jinja"))


def _safe(markup: str) -> Any:
    from markupsafe import Markup

    return Markup(markup)


def _drawn(curves: list[Curve], tints: dict[str, str], name: str) -> list[tuple[str, Any]]:
    """Title and figure of every curve."""
    return [(curve.title, _safe(curve_figure(curve, tints, name=f"{name}{i}"))) for i, curve in enumerate(curves)]
