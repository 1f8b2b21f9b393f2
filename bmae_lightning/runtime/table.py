"""A table as a record: its values, apart from how they look, and the same as text for a terminal or a log.

A stage that has results of its own to show leaves them as `tables.json` (`write_tables`), and the report shows them.
Markdown, LaTeX and CSV are made in `bmae_lightning.report.render`, HTML in `bmae_lightning.report.page`.
"""

import math
import os
import re
import shutil
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from rich.cells import cell_len

from bmae_lightning.runtime.files import read_json, write_json
from bmae_lightning.runtime.mean import Mean
from bmae_lightning.runtime.plain import plain, restored

FILE = "tables.json"
MISSING = "-"
PAPER, REFERENCE, SUMMARY = "paper", "reference", "summary"
"""Marks of a row (on its first cell): published values of the row above; a row of published values alone; the first of
the rows below a rule."""
PUBLISHED, OF_ROWS = (PAPER, REFERENCE), (PAPER, REFERENCE, SUMMARY)
BEST_OF_COLUMN, BEST_OF_ROW = "best of its column", "best of its row"
SIGNS = ("*", "+", "#")
"""What follows a marked value in text, a sign for each meaning."""
DAGGERS = "†‡"
"""A meaning that begins with one of these is shown as this sign behind the value, everywhere; others are emphasised."""
FAILED, NOT_RUN = "failed", "not run"
"""What stands in the cells of a row that has no values."""
NAME_WIDTH = 20
"""Columns of text that the first column of a table is given at least."""
WIDEST = 110
"""Columns of text above which long heads are replaced by numbers and told below, and notes are broken."""


@dataclass(frozen=True)
class Column:
    """One column.

    Attributes:
        name: head; lines after the first are small print.
        format: how numbers are printed: a format specification such as `.3f`, `+.3f`, `.1%` or `,`, `p` for a p value;
            empty for a column of text.
        higher: True where higher values are better, False where lower ones are, None where neither is.
        group: head above this and the neighbouring columns of the same group; lines after the first are small print.
        code: whether its texts are code, such as commands, of any length.
    """

    name: str
    format: str = ""
    higher: bool | None = None
    group: str = ""
    code: bool = False

    @property
    def key(self) -> str:
        """Group and name on one line, without small print."""
        return "/".join(filter(None, [first_line(self.group), first_line(self.name)]))


@dataclass(frozen=True)
class Table:
    """A title, columns, rows and notes.

    Attributes:
        title: what the table shows.
        columns: of the table; a text stands for a column of text.
        rows: one value per column: a number, a text, "" for an empty cell, None or nan for a missing value. The first
            value is the row's name, whose lines after the first are small print.
        marks: (row, column, meaning): one of `OF_ROWS`, what an emphasised cell means ("best of its column"), or a
            sign of `DAGGERS`, a blank and what it means.
        notes: lines below the table.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    marks: tuple[tuple[int, int, str], ...] = ()
    notes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        columns = tuple(Column(column) if isinstance(column, str) else column for column in self.columns)
        content = {"columns": columns, "rows": tuple(map(tuple, self.rows)), "notes": tuple(self.notes)}
        for name, value in (content | {"marks": tuple(map(tuple, self.marks))}).items():
            object.__setattr__(self, name, value)
        for row in self.rows:
            if len(row) != len(columns):
                raise ValueError(f"table {self.title!r}: the row {row[:1]} has {len(row)} values, not {len(columns)}")

    def marked(self, *meanings: str) -> list[int]:
        """Indices of the rows with one of these marks."""
        return sorted({row for row, _, found in self.marks if found in meanings})

    def emphasis(self) -> dict[tuple[int, int], str]:
        """(row, column) -> meaning, of the cells that are emphasised."""
        return {(r, c): meaning for r, c, meaning in self.marks if meaning not in OF_ROWS and meaning[0] not in DAGGERS}

    def signs(self) -> dict[tuple[int, int], str]:
        """(row, column) -> the daggers behind its value."""
        found: dict[tuple[int, int], str] = {}
        for *place, meaning in self.marks:
            if meaning[0] in DAGGERS:
                found[tuple(place)] = found.get(tuple(place), "") + meaning[0]
        return found

    def daggers(self) -> dict[str, str]:
        """Sign -> what it means."""
        return {meaning[0]: meaning[1:].strip() for *_, meaning in self.marks if meaning[0] in DAGGERS}

    def cells(self, row: int) -> list[str]:
        """The values of a row as they are printed, names without small print."""
        return [cell_text(value, column) for value, column in zip(self.rows[row], self.columns, strict=True)]

    def groups(self) -> list[tuple[str, int]]:
        """Neighbouring columns of one group: its head ("" for columns without), and how many they are."""
        return [(name, len(list(part))) for name, part in groupby(column.group for column in self.columns)]

    def with_best(self, of_rows: bool = False) -> "Table":
        """The table with the best value of each column (or row) marked; values that are printed alike share the mark.

        Columns whose `higher` is None and rows of published values take no part; where all are alike none is the best.
        """
        own = [row for row in range(len(self.rows)) if row not in self.marked(*PUBLISHED)]
        judged = [column for column, about in enumerate(self.columns) if about.higher is not None]
        lines = [[(r, c) for c in judged] for r in own] if of_rows else [[(r, c) for r in own] for c in judged]
        meaning = BEST_OF_ROW if of_rows else BEST_OF_COLUMN
        best = tuple((*place, meaning) for line in lines for place in self._best(line))
        return replace(self, marks=(*(mark for mark in self.marks if mark[2] != meaning), *best))

    def _best(self, places: list[tuple[int, int]]) -> list[tuple[int, int]]:
        values = {place: self.rows[place[0]][place[1]] for place in places}
        values = {(r, c): v if self.columns[c].higher else -v for (r, c), v in values.items() if is_number(v)}
        shown = {(r, c): cell_text(self.rows[r][c], self.columns[c]).partition(" ± ")[0] for r, c in values}
        if len(set(shown.values())) < 2:
            return []
        top = shown[max(values, key=values.__getitem__)]
        return [place for place in shown if shown[place] == top]

    def below(self) -> list[str]:
        """What stands below the table: the small print of its rows, then its notes."""
        named: dict[str, dict[str, None]] = {}
        for name, *small in (str(row[0]).split("\n") for row in self.rows):
            for line in map(printable, small):
                named.setdefault(line, {})[printable(name)] = None
        return [f"{', '.join(names)}: {line}" for line, names in named.items()] + list(self.notes)


def write_tables(directory: Path, tables: Sequence[Table]) -> None:
    """Leave tables for the report in the directory of a stage.

    Rows with an empty name get the name of the arm that the stage ran for.
    """
    write_json(directory / FILE, plain(list(tables)))


def read_tables(directory: Path) -> list[Table]:
    """The tables that a stage left, none where it left none."""
    path = directory / FILE
    return restored(list[Table], read_json(path)) if path.is_file() else []


def text(table: Table, width: int = 80, colour: bool = False) -> str:
    """The table as aligned text, a sign behind every emphasised value; wider than `width` only if numbers need it.

    colour: emphasised values in bold green, published ones dim, by the escape sequences of terminals.
    """
    meanings = dict.fromkeys(table.emphasis().values())
    signs = {meaning: SIGNS[i % len(SIGNS)] for i, meaning in enumerate(meanings)}
    body, room = _signed(table, signs)
    heads, legend = _heads(table, body, room)
    widths = [max(cell_len(line[i]) for line in [*heads, *body]) for i in range(len(table.columns))]
    left_over = max(NAME_WIDTH, width - sum(widths[1:]) - len(widths))
    names = [fold(cells[0], left_over) for cells in body]
    widths[0] = max((cell_len(line) for name in names for line in name), default=0)
    widths[0] = max(widths[0], *(cell_len(line[0]) for line in heads))
    left = [not column.format for column in table.columns]
    rule = "-" * (sum(widths) + len(widths))

    def line(cells: Sequence[str], row: int = -1) -> str:
        parts = []
        for i, cell in enumerate(cells):
            blanks = " " * (widths[i] - cell_len(cell))
            if colour and (row, i) in table.emphasis():
                cell = f"\x1b[1;32m{cell}\x1b[0m"
            parts.append(cell + blanks if left[i] else blanks + cell)
        joined = (parts[0] + "  " + " ".join(parts[1:])).rstrip()
        return f"\x1b[2m{joined}\x1b[0m" if colour and row in table.marked(*PUBLISHED) else joined

    lines = [printable(table.title), *map(line, heads), rule]
    for row, (name, cells) in enumerate(zip(names, body, strict=True)):
        lines += [rule] * (row > 0 and row in table.marked(SUMMARY)[:1])
        lines += [line([name[0], *cells[1:]], row), *("  " + rest for rest in name[1:])]
    lines += [f"{sign} {meaning}" for meaning, sign in signs.items()]
    lines += [f"{sign} {meaning}" for sign, meaning in table.daggers().items()] + legend
    for note in map(printable, table.below()):
        lines += textwrap.wrap(note, WIDEST, break_long_words=False, break_on_hyphens=False)
    return "\n".join(filter(None, lines)) + "\n"


def print_tables(tables: Sequence[Table]) -> None:
    """Print tables below each other, in colour on a terminal."""
    terminal = sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    width = shutil.get_terminal_size().columns if terminal else 80
    colour = terminal and not os.environ.get("NO_COLOR")
    print_text("\n".join(text(table, width, colour) for table in tables))


def print_text(shown: str) -> None:
    """Write to standard output what its encoding can show."""
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    sys.stdout.write(shown.encode(encoding, "replace").decode(encoding))
    sys.stdout.flush()


def cell_text(value: Any, column: Column) -> str:
    """One value as it is printed, without small print."""
    if isinstance(value, str):
        return first_line(value)
    if not is_number(value):
        return MISSING
    if column.format == "p":
        return "<0.0001" if value < 0.0001 else f"{value:.4f}"
    shown = format(float(value) if isinstance(value, Mean) else value, column.format or ",").replace("%", " %")
    spread = isinstance(value, Mean) and math.isfinite(value.sd)
    return f"{shown} ± {format(value.sd, column.format.lstrip('+') or ',').replace('%', ' %')}" if spread else shown


def is_number(value: Any) -> bool:
    """Whether a value can be shown as a number."""
    return isinstance(value, int | float) and math.isfinite(value)


def first_line(name: str) -> str:
    """A name without its small print."""
    return printable(name.partition("\n")[0])


def printable(line: str) -> str:
    """The text on one line, without control characters (a terminal would obey them)."""
    return "".join(sign if sign.isprintable() else " " for sign in line).strip()


def fold(name: str, width: int) -> list[str]:
    """Split a name into lines of at most `width` columns, after a space or one of `.=_-/,+` (not inside a number)."""
    lines, width = [""], max(width, NAME_WIDTH)
    for part in re.split(r"(?<=[ .=_\-/,+])(?!\d)", name):
        if cell_len(lines[-1] + part.rstrip()) > width and lines[-1].strip():
            lines.append("")
        lines[-1] += part
        while cell_len(lines[-1].rstrip()) > width:
            cut = next(i for i in range(len(lines[-1]), 0, -1) if cell_len(lines[-1][:i]) <= width)
            lines[-1:] = [lines[-1][:cut], lines[-1][cut:]]
    return [line.rstrip() for line in lines]


def _signed(table: Table, signs: dict[str, str]) -> tuple[list[list[str]], list[int]]:
    """The cells of all rows, numbers followed by their signs or blanks, so that digits stand below each other, and how
    many signs or blanks follow those of each column."""
    emphasis, body = table.emphasis(), [table.cells(row) for row in range(len(table.rows))]
    behind = {place: signs[meaning] for place, meaning in emphasis.items()}
    behind |= {place: behind.get(place, "") + daggers for place, daggers in table.signs().items()}
    room = [
        max([1, *(len(found) for (_, c), found in behind.items() if c == i)]) if column.format else 0
        for i, column in enumerate(table.columns)
    ]
    for row, cells in enumerate(body):
        indent = "  " * (row in table.marked(PAPER))
        body[row] = [cell + behind.get((row, i), "").ljust(room[i]) * (room[i] > 0) for i, cell in enumerate(cells)]
        body[row][0] = indent + cells[0]
    return body, room


def _heads(table: Table, body: list[list[str]], room: list[int]) -> tuple[list[list[str]], list[str]]:
    """The lines of the head, and lines that tell what the numbers in it stand for."""
    columns, stacks, before = table.columns, [], ""
    for column in columns:
        group = column.group.split("\n") if column.group and column.group != before else []
        depth = len(column.group.split("\n")) if column.group else 0
        stacks.append([*(group or [""] * depth), *column.name.split("\n")])
        before = column.group
    legend = []
    needed = sum(max(map(cell_len, [*stack, *(line[i] for line in body)])) + 1 for i, stack in enumerate(stacks))
    if needed > WIDEST:
        for i, stack in enumerate(stacks[1:], 1):
            if len(stack) == 1 and cell_len(stack[0]) > max(cell_len(line[i]) for line in body):
                legend.append(f"[{i}] {printable(stack[0])}")
                stack[0] = f"[{i}]"
    depth = max(map(len, stacks))
    padded = [[""] * (depth - len(stack)) + [printable(part) for part in stack] for stack in stacks]
    # A number ends in its signs or in blanks, so its head is set further left to stand above the digits.
    return [[stack[i] + " " * end for stack, end in zip(padded, room, strict=True)] for i in range(depth)], legend
