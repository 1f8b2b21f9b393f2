"""Evaluate retrievers on a list of collections, as BEIR does, and write the table in the papers' order with its mean.

Every (retriever, collection) pair is finished by itself in store/zero_shot-<fingerprint>: what is done is skipped, also
when the list of collections or retrievers grows. Vectors and token stores are deleted after each.
"""

import dataclasses
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from bmae_lightning.evaluation.measure.ranking import check_measures
from bmae_lightning.evaluation.suite.collections import Benchmark, DataSets
from bmae_lightning.lit.share import check_devices
from bmae_lightning.report.content import BASELINE, Report
from bmae_lightning.report.page import write_html
from bmae_lightning.report.suite import SuiteMean, SuiteRow, SuiteTable, as_json
from bmae_lightning.report.suite_table import csv_text, text
from bmae_lightning.report.tracking.loggers import Tracking
from bmae_lightning.retrieval.foreign_model import Retriever, find_retriever
from bmae_lightning.retrieval.index.bm25 import Bm25
from bmae_lightning.retrieval.index.index import Index
from bmae_lightning.retrieval.model_options import BM25, ModelOptions, label_models
from bmae_lightning.runtime.checks import choice
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import read_json, write_json, write_text
from bmae_lightning.runtime.process import print_once
from bmae_lightning.runtime.stage import Context, Stage
from bmae_lightning.stage.suite_pairs import Pairs

IDENTICAL_IDS = ("remove", "keep")


class Suite(Stage):
    """Writes suite.txt, suite.csv, suite.json and suite.html.

    Args:
        collections: names of `sets`, names of directories below `path`, directories, or collections.
        path: directory that holds collections by name.
        models: `bm25`, hub names, directories, or options by name (`retrieval.model_options.ModelOptions`).
        also: more of these, those that the report of the arms shows too.
        sets, parts: as `DataSets` takes them.
        split: the judged split.
        titles: `prepend`, `pair` or `drop`.
        identical_ids: `remove` results that have the id of their query, as BEIR, or `keep` them.
        query_length, passage_length: instead of the retrievers' own.
        bm25: settings of the model `bm25`.
        index: exact or faiss.
        measures: in the words of ir_measures; one table each.
        depth: ranks kept.
        batch_tokens, shard: as `rankers.Encoding`.
        processes: the trainer whose devices share the encoding.
        logger: tracking.
    """

    def __init__(
        self, collections: list | str, models: list, also: list, path: str | None, sets: dict, parts: dict, split: str,
        titles: str, identical_ids: str, query_length: int | None, passage_length: int | None, bm25: Bm25,
        index: Index, measures: list[str], depth: int, batch_tokens: int, shard: int,
        processes: partial, logger: Tracking,
    ) -> None:  # fmt: skip
        choice(IDENTICAL_IDS, identical_ids=identical_ids)
        for name, value in {"depth": depth, "shard": shard}.items():
            if value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not collections:
            raise ValueError("collections is empty: name directories in BEIR layout, or one of " + ", ".join(sets))
        self.wanted = [collections] if isinstance(collections, str) else collections
        self.named = [*models, *(model for model in also if model not in models)]
        self.data_sets = DataSets(path, split, titles, sets, parts)
        self.split, self.identical_ids = split, identical_ids
        self.query_length, self.passage_length = query_length, passage_length
        self.bm25, self.index, self.measures, self.depth = bm25, index, measures, depth
        self.processes, self.logger = processes, logger

    def preflight(self, splits: list[str]) -> None:
        check_measures(self.measures)
        check_devices(self.processes, self.name)
        for data_set in self._benchmark().data_sets:
            for collection in data_set.parts.values():
                collection.splits()
        self._models()

    def identity(self) -> list[str]:
        """What the result depends on apart from the options: the content of the collections and of the models."""
        collections = [part for data_set in self._benchmark().data_sets for part in data_set.parts.values()]
        models = [model for model in self._models().values() if isinstance(model, Retriever)]
        return [*(part.identity() for part in collections), *(model.identity for model in models)]

    def run(self, context: Context) -> None:
        benchmark, own, arms = self._benchmark(), self._models(), self._arms(context.inputs)
        if same := own.keys() & arms.keys():
            raise BadInput(f"{context.stage}.models: {min(same)!r} is an arm of this run; give the model another label")
        models = own | arms
        if not models:
            raise BadInput(f"{context.stage}.models is empty: name retrievers, as {context.stage}.models=[bm25,DIR]")
        found: dict[str, dict[str, list[dict]]] = {}
        pairs = Pairs(context, self.split, self.identical_ids == "keep", self.depth, self.measures, self.index)
        notes = []
        for data_set in benchmark.data_sets:
            for part, collection in data_set.parts.items():
                name = f"{data_set.name}/{part}" if part else data_set.name
                for label, model in models.items():
                    results = pairs.results(f"{name}, {label}", collection, model)
                    found.setdefault(data_set.name, {}).setdefault(label, []).append(results)
                pairs.free()
                notes += self._notes(name, results)
        tables = [self._table(measure, benchmark, list(models), found, notes) for measure in results["mean"]]
        self._write(context, tables, {label: _settings(model) for label, model in models.items()})

    def _benchmark(self) -> Benchmark:
        return self.data_sets.find(self.wanted)

    def _models(self) -> dict[str, Bm25 | Retriever]:
        found: dict[str, Bm25 | Retriever] = {}
        for number, (label, options) in enumerate(label_models(self.named, "suite.models").items()):
            if options.name == BM25:
                found[label] = self.bm25
            else:
                found[label] = find_retriever(label, self._lengths(options), f"suite.models[{number}]")
        return found

    def _lengths(self, options: ModelOptions) -> ModelOptions:
        lengths = {"query_length": self.query_length, "passage_length": self.passage_length}
        return dataclasses.replace(options, **{n: getattr(options, n) or value for n, value in lengths.items()})

    def _arms(self, inputs: Mapping[str, Path | None]) -> dict[str, Retriever]:
        """The retrievers that were trained in this run, by the names that the report gives them."""
        found = {}
        for key, directory in inputs.items():
            stage, _, arm = key.partition("@")
            rung = "" if stage == "retriever1" else f" {stage}"
            label = ("no pre-training" if arm == BASELINE else arm) + rung
            options = self._lengths(ModelOptions(str(directory / "retriever")))
            found[label] = find_retriever(label, options, f"suite ({label})")
        return found

    def _notes(self, name: str, results: Mapping[str, int]) -> list[str]:
        if self.identical_ids == "keep" or not results["own_relevant"]:
            return []
        return [
            f"{name}: for {results['own_relevant']:,} queries a relevant passage has the query's id and is removed from "
            "the results, as BEIR does (suite.identical_ids=keep keeps it)."
        ]

    def _table(
        self, measure: str, benchmark: Benchmark, models: list[str], found: Mapping[str, Mapping[str, list[dict]]],
        notes: list[str],
    ) -> SuiteTable:  # fmt: skip
        rows = {}
        for data_set in benchmark.data_sets:
            values = [_mean([part["mean"][measure] for part in found[data_set.name][model]]) for model in models]
            queries = sum(part["queries"] for part in found[data_set.name][models[0]])
            rows[data_set.name] = SuiteRow(data_set.name, values, queries, len(data_set.parts))
        means = [
            SuiteMean(
                group.name, [_mean([rows[name].values[i] for name in group.members]) for i in range(len(models))],
                group.members, group.missing,
            )
            for group in benchmark.groups
        ]  # fmt: skip
        return SuiteTable(measure, models, list(rows.values()), means, notes)

    def _write(self, context: Context, tables: list[SuiteTable], settings: dict[str, str]) -> None:
        directory = context.directory
        write_text(directory / "suite.txt", "\n".join(map(text, tables)))
        write_text(directory / "suite.csv", csv_text(tables))
        write_json(directory / "suite.json", {"tables": as_json(tables), "settings": settings})
        titles = self.data_sets.titles
        subtitle = f"split {self.split!r}, titles: {titles}, depth {self.depth:,}; measured by ir_measures (trec_eval)"
        write_html(directory / "suite.html", Report("Zero-shot", subtitle, [], [], [], settings, [], suites=tables))
        results = {
            f"{model}/{row.name}/{table.measure}": row.values[i]
            for table in tables
            for i, model in enumerate(table.models)
            for row in table.rows
        }
        write_json(directory / "metrics.json", results)
        with self.logger.of(context) as loggers:
            for logger in loggers:
                logger.log_metrics(results, step=0)
                for table in tables:
                    if hasattr(logger, "log_table"):
                        data = [[row.name, *row.values] for row in table.rows]
                        data += [[mean.title, *mean.values] for mean in table.means]
                        logger.log_table(key=f"suite {table.measure}", columns=["collection", *table.models], data=data)


def read_tables(directory: Path) -> list[SuiteTable]:
    """The tables of a finished suite."""
    return [SuiteTable.from_dict(table) for table in read_json(directory / "suite.json")["tables"]]


def show(directory: Path) -> None:
    """Print the tables of a finished suite and where its page lies."""
    print_once("\n" + "\n".join(map(text, read_tables(directory))))
    print_once(f"suite: {directory / 'suite.html'}, suite.csv and suite.json beside it")


def _settings(model: Bm25 | Retriever) -> str:
    if isinstance(model, Bm25):
        return f"bm25s, k1 {model.k1}, b {model.b}, stemmer {model.stemmer}, stop words {model.stopwords}"
    return ", ".join(f"{name} {value}" for name, value in model.record().items() if value not in ("", None))


def _mean(values: list[float]) -> float:
    return sum(values) / len(values)
