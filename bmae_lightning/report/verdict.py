"""Verdicts on ours against what a paper prints, by stated tolerances, and whether rows stand in the paper's order."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from bmae_lightning.runtime.checks import at_least
from bmae_lightning.runtime.mean import Mean
from bmae_lightning.runtime.table import is_number

VERDICTS = ("OK", "OKish", "FAIL")
NOT_COMPARABLE = "not comparable: "
NOT_MEASURED = "not measured"
FEWEST = 3
"""Rows below which an order says nothing."""
ORDER = "Kendall's τ-b (rows)"
ABOUT_ORDER = (
    f"{ORDER}: of our order of rows with the paper's, and over how many rows that have both values, from {FEWEST} on. "
    "A column without values of its collection is compared by the same measure on the first split of ours."
)
SPREAD = "±: standard deviation over seeds."


@dataclass(frozen=True, kw_only=True)
class Tolerances:
    """Differences from a paper, in either direction and as fractions, up to which a verdict is given.

    Args:
        ok: up to here OK.
        okish: up to here OKish, beyond it FAIL.
        few: fewer judged queries than these tell less.
        wider: what both are multiplied by there, and for tasks of GLUE.
    """

    ok: float = 0.005
    okish: float = 0.015
    few: int = 100
    wider: float = 3.0

    def __post_init__(self) -> None:
        at_least(0, ok=self.ok, few=self.few)
        if self.okish < self.ok:
            raise ValueError(f"okish={self.okish} must be at least ok={self.ok}")
        at_least(1, wider=self.wider)

    def bounds(self, wide: bool) -> tuple[float, float]:
        return (self.ok * self.wider, self.okish * self.wider) if wide else (self.ok, self.okish)

    def about(self, unit: float) -> str:
        """What stands below a table with verdicts; unit: what a fraction is multiplied by."""
        ok, okish = (f"{bound * unit:g}" for bound in self.bounds(wide=False))
        return (
            f"OK: ours is at most {ok} from the paper's, in either direction; OKish: at most {okish}; else FAIL. "
            f"{self.wider:g} times as much where fewer than {self.few} queries are judged (seeds move TREC DL by 1 "
            "to 2 points of nDCG), and for tasks of GLUE. A difference within two standard errors of a mean over seeds "
            "is judged one step better. Only where scale and collection are the paper's."
        )


class Value(NamedTuple):
    """Ours and the paper's in a cell, as fractions.

    Attributes:
        ours: of the column's own collection.
        paper: as printed.
        state: why there is none of ours, `failed` or `not run`.
        why: what keeps the two from being compared, empty where nothing does.
        wide: whether tolerances are wider here.
        elsewhere: another collection, and what we measured on it.
    """

    ours: float | None = None
    paper: float | None = None
    state: str = ""
    why: str = ""
    wide: bool = False
    elsewhere: tuple[str, float] | None = None

    @property
    def difference(self) -> float | None:
        known = is_number(self.ours) and is_number(self.paper)
        return round(self.ours - self.paper, 9) if known else None

    def verdict(self, tolerances: Tolerances) -> str:
        """Empty where nothing is printed."""
        if not is_number(self.paper):
            return ""
        if self.state or self.why:
            return self.state or NOT_COMPARABLE + self.why
        if self.difference is None:
            return NOT_MEASURED
        off = abs(self.difference)
        step = sum(off > bound for bound in tolerances.bounds(self.wide))
        seeds = isinstance(self.ours, Mean) and off <= 2 * self.ours.sd / math.sqrt(self.ours.runs)
        return VERDICTS[max(0, step - seeds)]


def together(verdicts: Sequence[str]) -> str:
    """The verdicts of a row in a cell: the one that all are, else how many there are of each."""
    counts = Counter(filter(None, verdicts))
    return next(iter(counts), "") if len(counts) < 2 else ", ".join(f"{n} {verdict}" for verdict, n in counts.items())


def order(column: Sequence[Value]) -> str:
    """Kendall's τ-b over the rows of a column, and how many rows it is of.

    Values of other collections take part where there is none of the column's own, those of one of them.
    """
    from scipy.stats import kendalltau

    pairs = [(value.ours, value.paper) for value in column]
    if not any(is_number(ours) for ours, _ in pairs):
        places = [value.elsewhere for value in column if value.elsewhere]
        pairs = [(v.elsewhere[1], v.paper) for v in column if v.elsewhere and v.elsewhere[0] == places[0][0]]
    pairs = [pair for pair in pairs if all(map(is_number, pair))]
    tau = kendalltau(*zip(*pairs, strict=True)).statistic if len(pairs) >= FEWEST else math.nan
    return f"{f'{tau:.2f}' if is_number(float(tau)) else '-'} ({len(pairs)})"
