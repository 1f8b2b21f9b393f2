"""Which differences between arms are more than chance: rows of text for pages and terminals, from values per query.

The tests and Holm's rule are `measure.significance`; no equation here.
"""

import json
import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path

from rich.cells import cell_len

from bmae_lightning.evaluation.measure.significance import FLIPS, Difference, differences
from bmae_lightning.report.content import Report
from bmae_lightning.report.table import decimals, printable

HEADS = ["difference", "t: p", "Holm", "randomisation: p", "Holm", "queries"]
LEVEL = 0.05
ABOUT = f"""Paired two-sided tests on the values per query: Student's t-test and the randomisation test (sign flips: all of
them where there are at most {FLIPS:,}, else {FLIPS:,} drawn with a fixed seed). Holm: p adjusted for all pairs of the measure.
Arms judged on other queries are not compared. What another seed of training would change is not in these
numbers.""".replace("\n", " ")


def paired_tests(directories: Mapping[str, Path], split: str, measures: Sequence[str]) -> list[Difference]:
    """Tests between all arms, for every measure by itself; arguments as for `values_per_query`."""
    return [row for name in measures for row in differences(name, values_per_query(directories, split, name))]


def values_per_query(directories: Mapping[str, Path], split: str, measure: str) -> dict[str, dict[str, float]]:
    """arm -> query id -> value, of the arms that kept them.

    directories: arm -> where the stage that measured it wrote `per_query.<split>.json`.
    """
    files = {arm: directory / f"per_query.{split}.json" for arm, directory in directories.items()}
    kept = {arm: json.loads(path.read_text(encoding="utf-8")) for arm, path in files.items() if path.is_file()}
    return {arm: values[measure] for arm, values in kept.items() if measure in values}


def tables(report: Report) -> dict[str, list[tuple[tuple[str, str], list[str], bool]]]:
    """measure -> ((arm, against), cells in the order of HEADS, both adjusted p are below 0.05) of every difference."""
    digits, found = decimals(report), {}
    for row in report.differences:
        p = [_p(value) for value in (row.t, row.t_holm, row.randomisation, row.randomisation_holm)]
        cells = [f"{row.difference:+.{digits}f}", *p, f"{row.queries:,}"]
        clear = row.t_holm < LEVEL and row.randomisation_holm < LEVEL
        found.setdefault(row.measure, []).append(((printable(row.arm), printable(row.against)), cells, clear))
    return found


def text_tables(report: Report) -> str:
    """The differences as plain aligned text, clear ones followed by `*`; empty where there are none."""
    lines = []
    for measure, rows in tables(report).items():
        body = [[measure, *HEADS], *([" − ".join(pair) + " *" * clear, *cells] for pair, cells, clear in rows)]
        widths = [max(cell_len(row[column]) for row in body) for column in range(len(body[0]))]
        for name, *cells in body:
            aligned = (" " * (width - cell_len(cell)) + cell for cell, width in zip(cells, widths[1:], strict=True))
            lines.append("  ".join([name + " " * (widths[0] - cell_len(name)), *aligned]))
        lines.append("")
    about = textwrap.fill(f"{ABOUT} *: both adjusted p below {LEVEL}.", 100)
    return "\n".join([*lines, about, ""]) if lines else ""


def _p(value: float) -> str:
    if math.isnan(value):
        return "–"
    return "<0.0001" if value < 0.0001 else f"{value:.4f}"
