"""Evaluate retrievers on a list of collections, as BEIR does, and write the table in the papers' order with its mean.

Every (retriever, collection) pair is finished by itself in store/zero_shot-<fingerprint>: what is done is skipped, also
when the list of collections or retrievers grows. Vectors and token stores are deleted after each.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from bmae_lightning.corpus.sizes import known_sizes
from bmae_lightning.encoder.checkpoint import shape_of
from bmae_lightning.evaluation.measure.ranking import Measure, check_measures
from bmae_lightning.evaluation.suite.collections import Benchmark, DataSets, Group
from bmae_lightning.lit.fit import make_trainer
from bmae_lightning.report.content import Report, row_name
from bmae_lightning.report.page import write_html
from bmae_lightning.report.printed import AVERAGE
from bmae_lightning.report.render import write_table_files
from bmae_lightning.report.tables import all_tables
from bmae_lightning.report.tracking.loggers import Tracking, log_tables
from bmae_lightning.retrieval.foreign_model import Retriever, find_retriever
from bmae_lightning.retrieval.index.bm25 import Bm25
from bmae_lightning.retrieval.index.index import Index
from bmae_lightning.retrieval.model_options import BM25, ModelOptions, label_models
from bmae_lightning.runtime.checks import at_least, choice
from bmae_lightning.runtime.cost import Cost, Sizes
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import write_json
from bmae_lightning.runtime.node_key import arm_of, stage_of
from bmae_lightning.runtime.stage import Context, Stage
from bmae_lightning.runtime.table import SUMMARY, Column, Table, write_tables
from bmae_lightning.stage.initial_weights import network_of
from bmae_lightning.stage.rankers import encoding_cost
from bmae_lightning.stage.zero_shot import Pairs

IDENTICAL_IDS = ("remove", "keep")
TITLE = "Zero-shot "
"""What the title of a table begins with; the measure follows."""


@dataclass(kw_only=True)
class Suite(Stage):
    """Writes tables.json and tables/ (a table per measure), suite.html and metrics.json.

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
        measures: names of ir_measures or measures of one's own; one table each.
        depth: ranks kept.
        batch_tokens, shard: as `rankers.Encoding`.
        processes: the trainer whose devices share the encoding.
        logger: tracking.
    """

    hub = ("models", "also")

    collections: list | str
    models: list
    also: list
    path: str | None
    sets: dict
    parts: dict
    split: str
    titles: str
    identical_ids: str
    query_length: int | None
    passage_length: int | None
    bm25: Bm25
    index: Index
    measures: list[str | Measure]
    depth: int
    batch_tokens: int
    shard: int
    processes: partial
    logger: Tracking

    def __post_init__(self) -> None:
        choice(IDENTICAL_IDS, identical_ids=self.identical_ids)
        at_least(1, depth=self.depth, shard=self.shard)
        if not self.collections:
            raise ValueError("collections is empty: name directories in BEIR layout, or one of " + ", ".join(self.sets))
        self.wanted = [self.collections] if isinstance(self.collections, str) else self.collections
        self.named = [*self.models, *(model for model in self.also if model not in self.models)]
        self.data_sets = DataSets(self.path, self.split, self.titles, self.sets, self.parts)

    @classmethod
    def published_heads(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        return (*{name for members in config["sets"].values() for name in members.values()}, AVERAGE)

    def preflight(self, splits: list[str]) -> None:
        check_measures(self.measures)
        for data_set in self._benchmark().data_sets:
            for collection in data_set.parts.values():
                collection.splits()
        self._models()
        make_trainer(self.processes, self.name)

    def identity(self) -> list[str]:
        """What the result depends on apart from the options: the content of the collections and of the models."""
        collections = [part for data_set in self._benchmark().data_sets for part in data_set.parts.values()]
        models = [model for model in self._models().values() if isinstance(model, Retriever)]
        return [*(part.identity() for part in collections), *(model.identity for model in models)]

    def cost(self, sizes: Sizes, inputs: Mapping[str, Any]) -> Cost:
        networks = [network_of(node.config) for node in inputs.values()]
        networks += [shape_of(m.name) for m in label_models(self.named, self.name).values() if m.name != BM25]
        parts = [part for data_set in self._benchmark().data_sets for part in data_set.parts.values()]
        length, looked_at = self.passage_length or 512, list(map(known_sizes, parts))
        return sum((encoding_cost(network, of, length) for network in networks for of in looked_at), Cost())

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
        tables = [_table(measure, benchmark, list(models), found, notes) for measure in results["mean"]]
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
            stage, arm = stage_of(key), arm_of(key)
            label = row_name(arm, "" if stage == "retriever1" else stage)
            options = self._lengths(ModelOptions(str(directory / "retriever")))
            found[label] = find_retriever(label, options, f"suite ({label})")
        return found

    def _notes(self, name: str, results: Mapping[str, int]) -> list[str]:
        if self.identical_ids == "keep" or not results["own_relevant"]:
            return []
        return [
            f"{name}: for {results['own_relevant']:,} queries a relevant passage has the query's id and is removed "
            "from the results, as BEIR does (suite.identical_ids=keep keeps it)."
        ]

    def _write(self, context: Context, tables: list[Table], settings: dict[str, str]) -> None:
        write_tables(context.directory, tables)
        subtitle = f"split {self.split!r}, titles: {self.titles}, depth {self.depth:,}; "
        subtitle += "measured by ir_measures (trec_eval)"
        report = Report("Zero-shot", subtitle, settings=settings, tables={context.stage: tables})
        write_html(context.directory / "suite.html", report)
        write_table_files(context.directory / "tables", all_tables(report))
        models = [column.name for column in tables[0].columns[1:-1]]
        results = {
            f"{model}/{row[0]}/{table.title.removeprefix(TITLE)}": value
            for table in tables
            for i, model in enumerate(models, 1)
            for row in table.rows[: table.marked(SUMMARY)[0]]
            for value in row[i : i + 1]
        }
        write_json(context.directory / "metrics.json", results)
        with self.logger.of(context) as loggers:
            for logger in loggers:
                logger.log_metrics(results, step=0)
            log_tables(loggers, {table.title: table for table in tables})


def _table(
    measure: str, benchmark: Benchmark, models: list[str], found: Mapping[str, Mapping[str, list[dict]]],
    notes: list[str],
) -> Table:  # fmt: skip
    """A row per collection, a column per retriever, unweighted means of the named sets below; the best of rows marked.

    found: collection -> retriever -> results of its parts.
    """
    values: dict[str, list[float]] = {}
    rows: list[list] = []
    for data_set in benchmark.data_sets:
        parts = [[part["mean"][measure] for part in found[data_set.name][model]] for model in models]
        values[data_set.name] = list(map(_mean, parts))
        queries = sum(part["queries"] for part in found[data_set.name][models[0]])
        rows.append([data_set.name, *values[data_set.name], queries])
    counted = [
        f"{data_set.name}: unweighted mean of {len(data_set.parts)} collections."
        for data_set in benchmark.data_sets
        if len(data_set.parts) > 1
    ]
    marks = [(len(rows), 0, SUMMARY)]
    for group in benchmark.groups:
        means = map(_mean, zip(*(values[name] for name in group.members), strict=True))
        rows.append([_mean_title(group), *means, ""])
        if group.missing:
            counted.append(f"{group.name} without {', '.join(group.missing)}.")
    columns = ["collection", *(Column(model, ".3f", True) for model in models), Column("queries", ",")]
    return Table(TITLE + measure, columns, rows, marks, [*counted, *notes]).with_best(of_rows=True)


def _mean_title(group: Group) -> str:
    parts = [f"of {len(group.members) + len(group.missing)}"] if group.missing else []
    parts += [group.name] if group.name else []
    return f"average of {len(group.members)}" + (f" ({', '.join(parts)})" if parts else "")


def _settings(model: Bm25 | Retriever) -> str:
    options = model.options if isinstance(model, Bm25) else model.record()
    return ", ".join(f"{name} {value}" for name, value in options.items() if value not in ("", None))


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
