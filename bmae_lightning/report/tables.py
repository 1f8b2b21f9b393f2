"""The tables of a report: the measures of all arms, and those that stages left, over arms and jobs."""

import re
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bmae_lightning.report.behind import behind_tables
from bmae_lightning.report.content import REPORT, Report, decimals, read_report
from bmae_lightning.report.significance import LEVEL, is_clear, significance_tables
from bmae_lightning.runtime.table import (
    BEST_OF_ROW,
    PAPER,
    WIDEST,
    Column,
    Table,
    first_line,
    print_tables,
    print_text,
    printable,
    read_tables,
)


def measures_tables(report: Report) -> list[Table]:
    """One for every split, the first one's first."""
    return [measures_table(part) for part in report.by_split().values()]


def measures_table(report: Report) -> Table:
    """A row for each arm (of one split) and, below one that has published values, these; the best of columns marked."""
    measures, form = report.measures(), f".{decimals(report.arms)}f"
    columns = ["arm", *(Column(name, form, True) for name in measures), Column("queries", ",")]
    clear = {(row.arm, row.measure) for row in report.differences if report.reference and is_clear(row)}
    differs = f"† differs from {report.reference} (Holm, p < {LEVEL})"
    rows, marks = [], []
    for arm in report.arms:
        marks += [(len(rows), i, differs) for i, name in enumerate(measures, 1) if (arm.name, name) in clear]
        source = f"paper: {arm.paper_source}" if arm.paper and arm.paper_source else ""
        name = "\n".join(filter(None, [printable(arm.name), arm.note, source]))
        cells = [*map(arm.measures.get, measures), "" if arm.state else arm.queries]
        rows.append([name, *([arm.state, *cells[1:]] if arm.state else cells)])
        if arm.paper:
            marks.append((len(rows), 0, PAPER))
            rows.append([PAPER, *map(arm.paper.get, measures), ""])
    return Table(report.title, columns, rows, marks).with_best()


def merged(tables: Sequence[Table]) -> list[Table]:
    """Tables of one title and the same columns as one, in the order of their first appearance.

    A row that several of them have stands once, with published values if any of them has these.
    """
    found: dict[tuple, list[Table]] = {}
    for table in tables:
        found.setdefault((table.title, table.columns), []).append(table)
    return [_joined(alike) if len(alike) > 1 else alike[0] for alike in found.values()]


def _joined(tables: Sequence[Table]) -> Table:
    blocks: dict[tuple[str, int], tuple[list[tuple], list[tuple[int, int, str]]]] = {}
    for table in tables:
        published, names = table.marked(PAPER), [row[0] for row in table.rows]
        for i in (row for row in range(len(names)) if row not in published):
            block = list(table.rows[i : i + 1 + (i + 1 in published)])
            key = names[i], names[:i].count(names[i])
            if key not in blocks or len(blocks[key][0]) < len(block):
                blocks[key] = block, [(r - i, c, m) for r, c, m in table.marks if i <= r < i + len(block)]
    lines, marks = [], []
    for block, marked in blocks.values():
        marks += [(len(lines) + r, c, m) for r, c, m in marked]
        lines += block
    notes = dict.fromkeys(note for table in tables for note in table.notes)
    of_rows = any(meaning == BEST_OF_ROW for *_, meaning in marks)
    return replace(tables[0], rows=lines, marks=marks, notes=tuple(notes)).with_best(of_rows)


def of_arm(table: Table, name: str) -> Table:
    """The table of a stage that ran for one arm, with the arm's name in front of the names of its rows."""
    head = table.columns[0] if table.columns[0].name else Column("arm")
    rows = [(": ".join(filter(None, [name, row[0]])), *row[1:]) for row in table.rows]
    return replace(table, columns=(head, *table.columns[1:]), rows=rows)


def renamed(table: Table, names: Mapping[str, str], more: str) -> Table:
    """The table with other names of its arms, and `more` behind its title."""
    rows = []
    for name, *values in table.rows:
        arm, colon, rest = name.partition(": ")
        rows.append((names.get(name) or names.get(arm, arm) + colon + rest, *values))
    return replace(table, title=f"{table.title} {more}".strip(), rows=rows)


def with_published(table: Table, row: str, values: Mapping[str, float], source: str) -> Table:
    """The table with published values below the row of this name.

    values: by head of a group of columns (they stand in its first column) or by head of a column.
    """
    heads = [first_line(column.group) or first_line(column.name) for column in table.columns]
    places = {head: place for place, head in reversed(list(enumerate(heads)))}
    line = [PAPER, *("" if places[head] != place else values.get(head) for place, head in enumerate(heads) if place)]
    at = next((i for i, found in enumerate(table.rows) if found[0] == row), None)
    if at is None or not any(head in values for head in heads):
        return table
    marks = [(r + (r > at), c, m) for r, c, m in table.marks] + [(at + 1, 0, PAPER)]
    rows = [*table.rows[: at + 1], line, *table.rows[at + 1 :]]
    note = f"Paper: {source}" + (
        "." if len(set(heads)) == len(heads) else "; it does not say which measure a column is."
    )
    return replace(table, rows=rows, marks=marks, notes=(*table.notes, note))


def all_tables(report: Report) -> dict[str, Table]:
    """Every table of a report by the name of its file, in the order of the page."""
    others = [f"measures {split}" for split in list(report.by_split())[1:]]
    named = [(table.title, table) for table in [*report.printed, *report.verdicts]]
    named += zip(["measures", *others], measures_tables(report), strict=True) if report.arms else []
    named += [(table.title.lower(), table) for table in behind_tables(report)]
    named += [(f"{stage} {table.title}", table) for stage, tables in report.tables.items() for table in tables]
    named += [(table.title, table) for table in significance_tables(report)]
    named += [(f"diagnosis {part.arm}", part.table) for part in report.diagnoses]
    named += [("jobs", report.jobs)] if report.jobs else []
    files: dict[str, Table] = {}
    for name, table in named:
        plain_name = re.sub(r"[^\w.@-]+", "_", name).strip("_")
        files[f"{plain_name}_{len(files)}" if plain_name in files else plain_name] = table
    return files


def print_report(report: Report, page: Path) -> None:
    """Print a paper's tables, those of the measures, those that stages left, what was found, where the page lies."""
    tables = [table for of in report.tables.values() for table in of]
    measures = measures_tables(report) if report.arms or not (tables or report.printed or report.jobs) else []
    print_tables([*report.printed, *measures, *tables])
    print_text("".join(f"{textwrap.fill(sentence, WIDEST)}\n" for sentence in report.headline))
    print_text(f"report: {page}\n")


def show_tables(directory: Path) -> None:
    """Print the tables of a finished report or of another stage, and where its pages lie, if it has any."""
    if (directory / REPORT).is_file():
        print_report(read_report(directory / REPORT), directory / "report.html")
    elif tables := read_tables(directory):
        print_tables(tables)
        for page in sorted(directory.glob("*.html")):
            print_text(f"{page.stem}: {page}\n")
