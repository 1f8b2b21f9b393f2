"""What the table of a benchmark says: a row per collection, a value per retriever, and means of named sets.

A mean is unweighted; it is told with the number of collections it is of, and with those that are missing.
"""

from dataclasses import asdict, dataclass
from typing import Any

DIGITS = 3


@dataclass(frozen=True)
class SuiteRow:
    """One collection.

    Attributes:
        name: as it is printed.
        values: one for each retriever.
        queries: judged queries, of all parts.
        parts: collections that count as this one; 1 for most.
    """

    name: str
    values: list[float]
    queries: int
    parts: int = 1


@dataclass(frozen=True)
class SuiteMean:
    """The unweighted mean over some rows.

    Attributes:
        name: of the named set, empty for all rows.
        values: one for each retriever.
        members: names of the rows.
        missing: members of the named set that were not there.
    """

    name: str
    values: list[float]
    members: list[str]
    missing: list[str]

    @property
    def title(self) -> str:
        parts = [f"of {len(self.members) + len(self.missing)}"] if self.missing else []
        parts += [self.name] if self.name else []
        return f"average of {len(self.members)}" + (f" ({', '.join(parts)})" if parts else "")


@dataclass(frozen=True)
class SuiteTable:
    """One measure of all retrievers on all collections."""

    measure: str
    models: list[str]
    rows: list[SuiteRow]
    means: list[SuiteMean]
    notes: list[str]

    @classmethod
    def from_dict(cls, content: dict[str, Any]) -> "SuiteTable":
        """The inverse of `dataclasses.asdict`."""
        rows, means = [SuiteRow(**row) for row in content["rows"]], [SuiteMean(**mean) for mean in content["means"]]
        return cls(**(content | {"rows": rows, "means": means}))

    def below(self) -> list[str]:
        """What stands below the table."""
        parts = [f"{row.name}: unweighted mean of {row.parts} collections." for row in self.rows if row.parts > 1]
        missing = [f"{mean.name} without {', '.join(mean.missing)}." for mean in self.means if mean.missing]
        return [*parts, *missing, *self.notes]

    def lines(self) -> list[tuple[str, list[str], list[bool], str]]:
        """Name, values, which of them are best, number of queries, for every row and every mean."""
        table = [(row.name, row.values, f"{row.queries:,}") for row in self.rows]
        table += [(mean.title, mean.values, "") for mean in self.means]
        return [(name, *_marked(values), queries) for name, values, queries in table]


def as_json(tables: list[SuiteTable]) -> list[dict[str, Any]]:
    """The tables as JSON can hold them."""
    return [asdict(table) for table in tables]


def _marked(values: list[float]) -> tuple[list[str], list[bool]]:
    shown = [round(value, DIGITS) for value in values]
    best = max(shown) if len(set(shown)) > 1 else None
    return [f"{value:.{DIGITS}f}" for value in values], [value == best for value in shown]
