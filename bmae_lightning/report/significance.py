"""Whether arms of a report differ by more than chance: their values per query, the tests, and the tables of these."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bmae_lightning.evaluation.measure.significance import FLIPS, Difference, differences
from bmae_lightning.report.content import Report, decimals
from bmae_lightning.runtime.files import read_json
from bmae_lightning.runtime.table import Column, Table, printable

PerQuery = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Arm -> measure -> query id -> value."""
LEVEL = 0.05
CLEAR = f"both adjusted p below {LEVEL}"
ABOUT = (
    "Paired two-sided tests on the values per query: Student's t-test and the randomisation test (sign flips: all of "
    f"them where there are at most {FLIPS:,}, else {FLIPS:,} drawn with a fixed seed). Holm: p adjusted for all pairs "
    "of the measure. Arms judged on other queries are not compared. What another seed of training would change is "
    "not in these numbers."
)


def values_per_query(runs: Mapping[str, Sequence[Path]], split: str) -> PerQuery:
    """The values of the arms whose runs all kept them; those of several runs as means over the runs.

    runs: arm -> directories of the stages that measured it, one for each run, where `per_query.<split>.json` lies.
    """
    found: dict[str, dict[str, dict[str, float]]] = {}
    for arm, directories in runs.items():
        files = [directory / f"per_query.{split}.json" for directory in directories]
        if not all(path.is_file() for path in files):
            continue
        first, *others = kept = [read_json(path) for path in files]
        alike = [name for name in first if all(first[name].keys() == run.get(name, {}).keys() for run in others)]
        found[arm] = {
            name: {query: sum(run[name][query] for run in kept) / len(kept) for query in first[name]} for name in alike
        }
    return found


def paired_tests(values: PerQuery, split: str, measures: Sequence[str]) -> list[Difference]:
    """Tests between all arms of a split, for every measure by itself."""
    return [
        replace(row, split=split)
        for name in measures
        for row in differences(name, {arm: of[name] for arm, of in values.items() if name in of})
    ]


def significance_tables(report: Report) -> list[Table]:
    """One table per split and tested measure: every pair of arms, clear differences marked."""
    return [table for split, part in report.by_split().items() for table in _significance_tables(part, split)]


def _significance_tables(report: Report, split: str) -> list[Table]:
    rows: dict[str, list[Difference]] = {}
    for row in report.differences:
        rows.setdefault(row.measure, []).append(row)
    columns = [Column("difference", f"+.{decimals(report.arms)}f")]
    columns += [Column(name, "p", group=test) for test in ("t-test", "randomisation") for name in ("p", "Holm")]
    columns.append(Column("queries", ","))
    return [
        Table(
            ", ".join(filter(None, [f"Differences in {measure}", split])),
            [measure, *columns],
            [
                [
                    f"{printable(row.arm)} − {printable(row.against)}", row.difference, row.t, row.t_holm,
                    row.randomisation, row.randomisation_holm, row.queries,
                ]
                for row in pairs
            ],
            [(i, 1, CLEAR) for i, row in enumerate(pairs) if row.t_holm < LEVEL and row.randomisation_holm < LEVEL],
            [ABOUT],
        )
        for measure, pairs in rows.items()
    ]  # fmt: skip
