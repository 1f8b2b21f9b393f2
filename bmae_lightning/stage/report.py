"""Collect what finished stages measured into one page, one JSON file, tables as files and one table in the terminal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bmae_lightning.evaluation.measure.ranking import (
    Measure,
    Measures,
    canonical,
    check_measures,
    measures_of,
)
from bmae_lightning.report.content import PAGE, REPORT, Report, write_report
from bmae_lightning.report.headline import with_headline
from bmae_lightning.report.page import write_html
from bmae_lightning.report.printed import check_results
from bmae_lightning.report.reference import Candidate
from bmae_lightning.report.render import write_table_files
from bmae_lightning.report.significance import tests_of, values_per_query, with_intervals
from bmae_lightning.report.tables import all_tables
from bmae_lightning.runtime.checks import at_least
from bmae_lightning.runtime.files import write_json
from bmae_lightning.runtime.stage import Context, Stage
from bmae_lightning.runtime.table import is_number
from bmae_lightning.stage.collected import Collected, read_node
from bmae_lightning.stage.example_queries import find_cases
from bmae_lightning.stage.prepared import Prepared


@dataclass(kw_only=True)
class MakeReport(Stage):
    """Writes report.html, report.json and tables/.

    Args:
        title: name of the experiment.
        measures: columns of the tables, names of ir_measures or measures of one's own, a list or by split.
        splits: the judged splits that are compared, a table each; figures and cases are of the first one.
        shown_as: stage -> what its rows are called after the name of the arm, of all stages that have rows; the planner
            takes it from their YAML.
        collection: name of the corpus in papers, None where it has none.
        paper_results: printed values of the arm with pre-training, collection/split -> stage -> measure, of a stage
            that leaves tables -> head of a column. They stand below ours of the same collection and split, the others
            in a table of their own.
        paper_source: where they are printed.
        significance: measures in which arms are tested, where a split has them; None: the first of each split.
        reference: the arm or row that the others are tested against, `all` for all pairs; None: the arm without
            pre-training, all pairs where there is none.
        cases: queries that are shown with the best passage of every arm.
    """

    title: str
    measures: Measures
    splits: list[str]
    shown_as: dict[str, str] = field(default_factory=dict)
    collection: str | None = None
    paper_results: Any = None
    paper_source: str | None = None
    significance: list[str | Measure] | None = None
    reference: str | None = None
    cases: int = 0

    def __post_init__(self) -> None:
        at_least(0, cases=self.cases)
        if self.reference is not None and not isinstance(self.reference, str):
            raise ValueError(f"reference={self.reference!r} must be the name of a row, all or null")
        self.paper = check_results({} if self.paper_results is None else self.paper_results, self.shown_as)

    def preflight(self, splits: list[str]) -> None:
        check_measures(self.measures, self.splits)
        canonical(self.significance or [])

    def run(self, context: Context) -> None:
        report = self.collect({key: path for key, path in context.inputs.items() if path is not None}, context.job)
        write_report(context.directory / REPORT, report)
        write_html(context.directory / PAGE, report)
        write_table_files(context.directory / "tables", all_tables(report))
        results = {}
        for arm in report.arms:
            of = arm.name if arm.split == self.splits[0] else f"{arm.name}/{arm.split}"
            results |= {f"{of}/{name}": value for name, value in arm.measures.items()}
        for table in (table for of in report.tables.values() for table in of):
            keys = [column.key for column in table.columns]
            for name, *values in table.rows:
                results |= {f"{name}/{k}": v for k, v in zip(keys[1:], values, strict=True) if is_number(v)}
        write_json(context.directory / "metrics.json", results)

    def collect(self, stages: Mapping[str, Path], job: dict[str, Any] | None = None) -> Report:
        """The report of finished stages: `stage` or `stage@arm` -> its directory, of a job (`describe_job`)."""
        measures = {split: canonical(measures_of(self.measures, split)) for split in self.splits}
        found = Collected(measures, self.paper, self.paper_source or "", self.collection, job or {})
        for key, directory in stages.items():
            found.add(read_node(key, directory, self.shown_as))
        arms = found.all_arms()
        places: dict[str, dict[str, list[Path]]] = {}
        for arm in arms:
            places.setdefault(arm.split, {})[arm.name] = [stages[arm.node]]
        values = {of: values_per_query(places[of], of) for of in places}
        tested = {of: self._tested(measures[of]) for of in places}
        rows = {of: [Candidate(arm.name, arm.name, arm.node) for arm in arms if arm.split == of] for of in places}
        found_out = tests_of(rows, values, tested, self.reference)
        cases = []
        if self.cases and arms:
            split = arms[0].split
            cases = find_cases(
                Prepared(stages["prepare"]), {arm: runs[0] for arm, runs in places[split].items()}, split,
                measures[split][0], self.cases,
            )  # fmt: skip
        subtitle = (
            f"{found.settings.get('corpus', '')}; measured on {', '.join(self.splits)} by ir_measures (trec_eval)"
        )
        return with_headline(Report(
            self.title, subtitle, with_intervals(arms, values), found.all_curves(), found.samples, found.settings,
            [*found.notes, *found_out.notes], found.diagnoses, tested=tested, differences=found_out.differences,
            reference=found_out.reference, cases=cases,
            tables=found.all_tables() | found.as_printed(self.shown_as), names=found.names,
            behind=found.behind(),
        ))  # fmt: skip

    def _tested(self, measures: list[str]) -> list[str]:
        """Those of a split's measures in which its arms are tested."""
        wanted = measures[:1] if self.significance is None else canonical(self.significance)
        return [name for name in measures if name in wanted]
