"""The measures of all arms as bars: lengths in shares of one scale, which the page draws without a figure."""

from typing import NamedTuple

from bmae_lightning.report.content import Arm, Report
from bmae_lightning.report.tables import measures_table
from bmae_lightning.runtime.mean import Mean
from bmae_lightning.runtime.table import MISSING, PAPER, is_number


class Bar(NamedTuple):
    """One value: where its bar begins and how long it is, where its whisker does, what is written behind it.

    start, length, whisker: shares of the scale, None where there is no value or no spread.
    tip: the ends of the whisker in words.
    """

    measure: str
    shown: str
    best: bool = False
    start: float | None = None
    length: float = 0.0
    whisker: tuple[float, float] | None = None
    tip: str = ""


def bars(report: Report) -> list[tuple[Arm, list[Bar]]]:
    """The arms of the first split with a bar for each measure that any of them has; none without values.

    All measures share one scale, which begins at 0 (or below, where a value does).
    """
    report = next(iter(report.by_split().values()))
    measures = [m for m in report.measures() if any(is_number(arm.measures.get(m)) for arm in report.arms)]
    ends = [end for arm in report.arms for m in measures for end in (arm.measures.get(m), *whisker(arm, m))]
    low, high = min([0.0, *filter(is_number, ends)]), max([0.0, *filter(is_number, ends)])
    table = measures_table(report)
    own = [row for row in range(len(table.rows)) if row not in table.marked(PAPER)]
    heads = [column.name for column in table.columns]

    def bar(arm: Arm, row: int, measure: str) -> Bar:
        value, place = arm.measures.get(measure), heads.index(measure)
        shown = table.cells(row)[place].partition(" ± ")[0].replace(MISSING, "–")
        if not is_number(value):
            return Bar(measure, shown)
        share = 1 / ((high - low) or 1.0)
        spread = tuple(max(low, end) for end in whisker(arm, measure))
        return Bar(
            measure, shown, (row, place) in table.emphasis(), (min(value, 0.0) - low) * share, abs(value) * share,
            tuple((end - low) * share for end in spread) or None, "{:.4g} to {:.4g}".format(*spread) if spread else "",
        )  # fmt: skip

    rows = zip(report.arms, own, strict=True) if measures else ()
    return [(arm, [bar(arm, row, measure) for measure in measures]) for arm, row in rows]


def whisker(arm: Arm, measure: str) -> tuple[float, ...]:
    """The ends of the whisker of a bar: a standard deviation over seeds to both sides, or the interval of one run."""
    value = arm.measures.get(measure)
    if isinstance(value, Mean):
        return (value - value.sd, value + value.sd) if is_number(value.sd) else ()
    return tuple(arm.interval.get(measure, ())) if is_number(value) else ()


def about_whiskers(report: Report) -> str:
    """What the whiskers are, in a sentence; '' where there are none."""
    arms = next(iter(report.by_split().values())).arms
    drawn = {isinstance(arm.measures[m], Mean) for arm in arms for m in arm.measures if whisker(arm, m)}
    kinds = {True: "one standard deviation over seeds to both sides", False: "95 % bootstrap intervals over queries"}
    told = [
        kinds[kind] + (" (of single runs)" if len(drawn) > 1 and not kind else "")
        for kind in (True, False)
        if kind in drawn
    ]
    return f"Whiskers: {'; '.join(told)}." if told else ""
