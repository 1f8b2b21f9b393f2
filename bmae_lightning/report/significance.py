"""Whether arms of a report differ by more than chance: their values per query, the tests, and the tables of these."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from bmae_lightning.evaluation.measure.bootstrap import COVERAGE, RESAMPLES, intervals
from bmae_lightning.evaluation.measure.power import POWER, pooled_sd, runs_needed
from bmae_lightning.evaluation.measure.significance import FLIPS, Difference, differences
from bmae_lightning.report.content import Arm, Report, decimals
from bmae_lightning.report.reference import Candidate, find_reference
from bmae_lightning.report.seeds import SEED
from bmae_lightning.runtime.files import read_json
from bmae_lightning.runtime.mean import Mean, mean_of
from bmae_lightning.runtime.table import Column, Table, printable

PerQuery = Mapping[str, Mapping[str, Mapping[str, float]]]
"""Arm -> measure -> query id -> value."""
LEVEL, PERCENT = 0.05, f"{100 * COVERAGE:.0f} %"
CLEAR = f"both adjusted p below {LEVEL}"
ABOUT = (
    "Paired two-sided tests on the values per query, averaged over seeds first where there are several: Student's "
    f"t-test and the randomisation test (sign flips: all of them where there are at most {FLIPS:,}, else {FLIPS:,} "
    "drawn with a fixed seed). Holm: p adjusted for all tests of the table. "
    f"{PERCENT}: interval of the difference over queries (paired bootstrap, percentiles of {RESAMPLES:,} "
    "resamples). Arms judged on other queries are not compared."
)
ONE_SEED = "One seed: what another seed would change is not in these numbers; seeds=3 shows it."
ABOUT_SEEDS = (
    f"Seeds that a difference needs: for a two-sided t-test at {100 * LEVEL:.0f} % with power {100 * POWER:.0f} %, "
    "paired where both rows have the same seeds, from the sd of their differences; else of two groups of runs, "
    "from the sd pooled over both rows."
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


def paired_tests(
    values: PerQuery, split: str, measures: Sequence[str], pairs: Sequence[tuple[str, str]] | None = None
) -> list[Difference]:
    """Tests between arms of a split, for every measure by itself; pairs: (arm, against), None: all."""
    return [
        replace(row, split=split)
        for name in measures
        for row in differences(name, {arm: of[name] for arm, of in values.items() if name in of}, pairs)
    ]


class Tested(NamedTuple):
    """What was tested against what, what was found, and what is to be said of it."""

    reference: str
    differences: list[Difference]
    notes: list[str]


def tests_of(
    rows: Mapping[str, Sequence[Candidate]], values: Mapping[str, PerQuery], measures: Mapping[str, Sequence[str]],
    wanted: str | None,
) -> Tested:  # fmt: skip
    """The tests of all splits; rows, values, measures: split -> its rows, their values per query, what is tested."""
    found = {split: find_reference(rows.get(split, ()), wanted) for split in measures}
    return Tested(
        next((of.name for of in found.values() if of.name), ""),
        [
            row for split, of in found.items()
            for row in paired_tests(values.get(split, {}), split, measures[split], of.pairs)
        ],
        list(dict.fromkeys(of.unknown for of in found.values() if of.unknown)),
    )  # fmt: skip


def with_intervals(arms: Sequence[Arm], values: Mapping[str, PerQuery]) -> list[Arm]:
    """The arms with the intervals of the measures that they show; values: split -> values per query."""
    columns = {
        (split, arm, name): of
        for split, of_arms in values.items()
        for arm, measured in of_arms.items()
        for name, of in measured.items()
    }
    shown = {(arm.split, arm.name, name) for arm in arms for name in arm.measures}
    found = intervals({key: of for key, of in columns.items() if key in shown})
    return [
        replace(arm, interval={
            name: found[key] for name in arm.measures if (key := (arm.split, arm.name, name)) in found
        })
        for arm in arms
    ]  # fmt: skip


def is_clear(row: Difference) -> bool:
    """Whether both tests tell a difference from chance."""
    return row.t_holm < LEVEL and row.randomisation_holm < LEVEL


def spread(report: Report, arm: Arm, other: Arm, measure: str) -> tuple[float, int]:
    """The sd of a difference of two rows over seeds, and of how many groups of runs.

    1: where both have the same seeds it is that of the differences of runs with one seed.  2: it is pooled.
    """
    first, second = (_by_seed(report, row, measure) for row in (arm, other))
    if len(first) > 1 and first.keys() == second.keys():
        return round(mean_of([first[seed] - second[seed] for seed in first]).sd, 12), 1
    value, against = arm.measures[measure], other.measures[measure]
    return pooled_sd(value.sd, value.runs, against.sd, against.runs), 2


def _by_seed(report: Report, row: Arm, measure: str) -> dict[str, float]:
    """The runs of a row by what stands behind its name in theirs: their seeds."""
    runs = [arm for arm in report.single if arm.split == row.split and measure in arm.measures]
    found = {arm.name.removeprefix(row.name): arm.measures[measure] for arm in runs if arm.name.startswith(row.name)}
    return {seed: value for seed, value in found.items() if not seed or seed.startswith(f" {SEED}")}


def about_seeds(report: Report, rows: Sequence[Difference]) -> list[str]:
    """How many seeds the differences to the reference would need, or that there is one seed.

    rows: of one measure and split of the report.
    """
    arms = {arm.name: arm for arm in report.arms}
    if not any(isinstance(value, Mean) for arm in report.arms for value in arm.measures.values()):
        return [ONE_SEED] if any("@" in arm.node for arm in report.arms) else []
    if not report.reference:
        return []
    told, unknown, digits = [], [], decimals(report.arms)
    for row in rows:
        arm, against = arms[row.arm], arms[row.against]
        value, other = arm.measures.get(row.measure), against.measures.get(row.measure)
        pair = f"{printable(row.arm)} − {printable(row.against)}"
        if not (isinstance(value, Mean) and isinstance(other, Mean)):
            unknown.append(pair)
            continue
        less, (sd, groups) = float(value) - float(other), spread(report, arm, against, row.measure)
        of = ", ".join(filter(None, [row.measure, row.split]))
        shared = "shared " * (groups == 1)
        size = f"{of}, {pair}: {less:+.{digits}f} with sd {sd:.{digits}f} over {shared}seeds"
        if less and sd:
            count = f"about {runs_needed(less, sd, groups):,} seeds per arm"
            told.append(f"{size}; a difference of this size needs {count}.")
        else:
            told.append(f"{size}, from which no number of seeds follows.")
    alone = [f"{', '.join(unknown)}: one of the two has one run alone, so no sd over seeds is known."] * bool(unknown)
    return [*told, *alone, *([ABOUT_SEEDS] * bool(told))]


def significance_tables(report: Report) -> list[Table]:
    """One table per split and tested measure: the differences, clear ones marked, and what more seeds would tell."""
    return [table for split, part in report.by_split().items() for table in _significance_tables(part, split)]


def _significance_tables(report: Report, split: str) -> list[Table]:
    rows: dict[str, list[Difference]] = {}
    for row in report.differences:
        rows.setdefault(row.measure, []).append(row)
    form, to = f"+.{decimals(report.arms)}f", f"\ndifferences to {report.reference}" if report.reference else ""
    columns = [Column("difference", form), *(Column(end, form, group=PERCENT) for end in ("from", "to"))]
    columns += [Column(name, "p", group=test) for test in ("t-test", "randomisation") for name in ("p", "Holm")]
    columns.append(Column("queries", ","))
    return [
        Table(
            ", ".join(filter(None, [f"Differences in {measure}", split])),
            [measure + to, *columns],
            [
                [
                    f"{printable(row.arm)} − {printable(row.against)}", row.difference, *(row.interval or ("", "")),
                    row.t, row.t_holm, row.randomisation, row.randomisation_holm, row.queries,
                ]
                for row in pairs
            ],
            [(i, 1, CLEAR) for i, row in enumerate(pairs) if is_clear(row)],
            [ABOUT, *about_seeds(report, pairs)],
        )
        for measure, pairs in rows.items()
    ]  # fmt: skip
