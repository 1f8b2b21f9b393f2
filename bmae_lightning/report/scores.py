"""Tables of other tasks beside that of the measures, as text and as HTML; no equation here."""

from collections.abc import Sequence
from html import escape
from typing import Any

from bmae_lightning.report.content import Scores, is_number

MISSING = "-"
MEAN = "mean"


def glue_scores(results: dict[str, dict[str, Any]], paper: dict[str, dict[str, float]], source: str) -> list[Scores]:
    """The table of the GLUE tasks, none without results.

    Args:
        results: arm -> `metrics.json` of its glue stage.
        paper: arm -> published value by task.
        source: where those are printed.
    """
    columns, examples = {}, {}
    for each in results.values():
        columns |= {task: [f"{task}/{name}" for name in found["scores"]] for task, found in each["tasks"].items()}
        examples |= {task: found["dev"] for task, found in each["tasks"].items()}
    rows = {
        arm: {f"{task}/{m}": value for task, found in each["tasks"].items() for m, value in found["scores"].items()}
        | {MEAN: each["mean"]}
        for arm, each in results.items()
    }
    rates = {len(found["by_lr"]) for each in results.values() for found in each["tasks"].values()}
    chosen = f" at the best of {max(rates)} learning rates on the same examples" if max(rates, default=1) > 1 else ""
    note = f"Measured on dev, after fine-tuning{chosen}."
    if paper:
        note += f" Paper: {source}; it does not say which measure a column is."
    columns[MEAN] = [MEAN]
    return [Scores("Understanding (GLUE)", columns, examples, rows, paper, note)] if results else []


def merge_scores(tables: Sequence[Scores]) -> list[Scores]:
    """Tables of the same title and columns as one, in the order of their first appearance; an arm of several stands once,
    with its published values if any of them has these."""
    merged: dict[tuple, Scores] = {}
    for table in tables:
        key = (table.title, str(table.columns), str(table.examples))
        old = merged.get(key)
        merged[key] = table if old is None else _joined(old, table)
    return list(merged.values())


def scores_text(table: Scores) -> str:
    """Plain aligned text."""
    below = [[cell.partition(", ")[part] for cell in _below(table)] for part in (0, 2)]
    lines = [["arm", *table.columns], *(["", *cells] for cells in below), *_rows(table)]
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    aligned = [
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    ]
    rule = "-" * (sum(widths) + 2 * len(widths) - 2)
    body = [table.title, *aligned[:3], rule, *aligned[3:], table.note]
    return "\n".join(line.rstrip() for line in body if line) + "\n"


def scores_html(tables: Sequence[Scores]) -> str:
    """One table each, with a heading and a note."""
    parts = []
    for number, table in enumerate(tables):
        heads = "".join(
            f'<th scope="col">{escape(head)}<small>{escape(below)}</small></th>'
            for head, below in zip(table.columns, _below(table), strict=True)
        )
        lines = [
            f'<tr><th scope="row">{escape(name)}</th>'
            + "".join(f'<td class="number">{escape(cell)}</td>' for cell in cells)
            + "</tr>"
            for name, *cells in _rows(table)
        ]
        body = f'<thead><tr><th scope="col">arm</th>{heads}</tr></thead>\n<tbody>\n' + "\n".join(lines) + "\n</tbody>"
        parts.append(
            f'<h3 id="scores{number}-head">{escape(table.title)}</h3>\n'
            f'<div class="wide" role="region" aria-labelledby="scores{number}-head" tabindex="0"><table>{body}</table></div>\n'
            f'<p class="about">{escape(table.note)}</p>'
        )
    return "".join(parts)


def _below(table: Scores) -> list[str]:
    """What stands below every head: measures and number of examples."""
    found = []
    for head, names in table.columns.items():
        measures = " / ".join(name.rpartition("/")[2] for name in names if name != head)
        count = f"{table.examples[head]:,} examples" if head in table.examples else ""
        found.append(", ".join(filter(None, [measures, count])))
    return found


def _rows(table: Scores) -> list[list[str]]:
    """A name and one text per column; published values in a row of their own below the arm."""
    lines = []
    for arm, values in table.rows.items():
        lines.append(
            [arm, *(" / ".join(_number(values.get(name)) for name in names) for names in table.columns.values())]
        )
        if arm in table.paper:
            lines.append(["  paper", *(_number(table.paper[arm].get(head)) for head in table.columns)])
    return lines


def _number(value: float | None) -> str:
    return f"{value:.3f}" if is_number(value) else MISSING


def _joined(old: Scores, new: Scores) -> Scores:
    return Scores(old.title, old.columns, old.examples, old.rows | new.rows, old.paper | new.paper, old.note)
