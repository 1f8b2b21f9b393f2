"""What the finished stages of a run left for its report: measures, curves, tables, settings, rebuilt passages."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bmae_lightning.corpus.document_order import COLLECTION_ORDER
from bmae_lightning.lit.metrics_file import VALIDATION, read_metrics
from bmae_lightning.report.content import (
    BASELINE,
    PRINTED,
    Arm,
    Curve,
    Diagnosis,
    Origin,
    Sample,
    pretraining_of,
    row_name,
)
from bmae_lightning.report.diagnosis import diagnosis
from bmae_lightning.report.origin import origin_of
from bmae_lightning.report.printed import Results, as_printed
from bmae_lightning.report.tables import merged, of_arm, with_published
from bmae_lightning.runtime.files import read_json
from bmae_lightning.runtime.node_key import arm_of, stage_of
from bmae_lightning.runtime.table import Table, read_tables
from bmae_lightning.stage.prepared import Prepared

SHOWN = (
    "batch_size", "steps", "epochs", "lr", "length", "passage_length", "train_group_size", "similarity", "temperature",
    "backbone", "forward_factor", "r_drop",
)  # fmt: skip
"""Options of a stage that trains which stand among the settings, where it has them."""

COLLECTIONS = {"prepare": "corpus", "prepare_general": "general corpus"}
"""Stages that prepare a collection -> what it is called among the settings."""

Series = dict[str, list[tuple[float, float]]]


class Node(NamedTuple):
    """A finished stage for an arm.

    Attributes:
        key: `stage` or `stage@arm`.
        name: what its rows and lines are called.
        directory: where it wrote.
        config, context: of its manifest.
        results: its metrics.json, empty where it left none.
    """

    key: str
    name: str
    directory: Path
    config: dict[str, Any]
    context: dict[str, Any]
    results: dict[str, Any]

    @property
    def stage(self) -> str:
        return stage_of(self.key)

    @property
    def arm(self) -> str:
        return arm_of(self.key)

    @property
    def foreign(self) -> bool:
        """Whether it measured a model from elsewhere, whose record is among its results."""
        return isinstance(self.results.get("model"), dict)


def read_node(key: str, directory: Path, shown_as: Mapping[str, str]) -> Node:
    """What a finished stage left; shown_as: stage -> what stands behind the name of its arm."""
    manifest, written = read_json(directory / "manifest.json"), directory / "metrics.json"
    results = read_json(written) if written.is_file() else {}
    name = row_name(arm_of(key), shown_as.get(stage_of(key), ""))
    return Node(key, name, directory, manifest["config"], manifest.get("context", {}), results)


@dataclass
class Collected:
    """Collects what nodes left.

    Args:
        measures: split -> names of those that are shown.
        paper: printed values by collection/split and stage, and by measure or head of a column.
        paper_source: where they are printed.
        collection: what papers call the corpus.
        job: what all of it is a run of, for the origins of the rows.
    """

    measures: dict[str, list[str]]
    paper: Results
    paper_source: str
    collection: str | None = None
    job: dict[str, Any] = field(default_factory=dict)
    samples: list[Sample] = field(default_factory=list)
    settings: dict[str, str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    diagnoses: list[Diagnosis] = field(default_factory=list)
    names: dict[str, str] = field(default_factory=dict)
    _shown: set[tuple[str, str]] = field(default_factory=set)
    _nodes: list[Node] = field(default_factory=list)
    _curves: list[Curve] = field(default_factory=list)
    _losses: dict[str, Series] = field(default_factory=dict)
    _validations: dict[tuple[str, str], Series] = field(default_factory=dict)

    def add(self, node: Node) -> None:
        """Take what a node left, whatever its stage is."""
        self._nodes.append(node)
        if node.stage in COLLECTIONS:
            self.settings[COLLECTIONS[node.stage]] = _corpus(node)
        if node.stage == "prepare" and self.paper and Prepared(node.directory).record["title"] == "drop":
            self.notes.append("These passages have no titles (corpus.title=drop), those of the papers have them.")
        if node.stage == "generate":
            self.settings |= _generated(node)
            if teachers := _teacher_losses(node.directory):
                self._curves.append(Curve("Teachers of queries and continuations", teachers))
        if (node.directory / "metrics.jsonl").is_file():
            self._add_training(node, read_metrics(node.directory / "metrics.jsonl"))
        if (node.directory / "samples.json").is_file():
            self.samples += [Sample(**sample) for sample in read_json(node.directory / "samples.json")]
        if node.foreign:
            self.settings[node.key] = ", ".join(
                f"{name} {value}" for name, value in node.results["model"].items() if value is not None
            )

    def all_arms(self) -> list[Arm]:
        """A row for every split and node that measured it; those that all arms share, then the baseline, come first."""
        arms, splits = [], list(self.measures)
        for node in self._nodes:
            measured = [split for split in splits if isinstance(node.results.get(split), dict)]
            origins = self._origins(node) if measured else []
            for split in measured:
                found, printed = node.results[split], self._published(node, f"{self.collection}/{split}") or None
                shown = {name: found["mean"][name] for name in self.measures[split] if name in found["mean"]}
                source = self.paper_source if printed else ""
                about = node.name, shown, found["queries"], _note(node), printed, source, node.key, split
                arms.append(Arm(*about, origins=origins))
        return sorted(
            arms, key=lambda arm: (splits.index(arm.split), "@" in arm.node, arm.name != row_name(BASELINE, ""))
        )

    def all_tables(self) -> dict[str, list[Table]]:
        """stage -> the tables that it left, those of its arms as one, with published values."""
        found: dict[str, list[Table]] = {}
        for node in sorted(self._nodes, key=lambda node: node.arm != BASELINE):
            for table in read_tables(node.directory):
                if node.arm:
                    self.names[node.key] = node.name
                    table = of_arm(table, node.name)
                found.setdefault(node.stage, []).append(table)
        together = {stage: merged(tables) for stage, tables in found.items()}
        for node in (node for node in self._nodes if node.stage in together):
            for place in self.paper:
                tables, printed = together[node.stage], self._published(node, place)
                together[node.stage] = [with_published(t, node.name, printed, self.paper_source) for t in tables]
                if together[node.stage] == tables:
                    self._shown.discard((place, node.stage))
        return together

    def behind(self) -> list[Arm]:
        """Arms without measures for what is behind the tables that stages left."""
        leaving = [node for node in self._nodes if read_tables(node.directory)]
        names = {node.key: f"{node.name} ({node.stage})" if node.name else node.stage for node in leaving}
        return [Arm(names[node.key], {}, 0, node=node.key, origins=self._origins(node)) for node in leaving]

    def _origins(self, node: Node) -> list[Origin]:
        return [origin_of({of.key: of.directory for of in self._nodes}, node.key, self.job)]

    def as_printed(self, shown_as: Mapping[str, str]) -> dict[str, list[Table]]:
        """The printed values that stand below none of ours, once rows and tables have been asked for."""
        left: Results = {}
        for place, by_stage in self.paper.items():
            left[place] = {stage: of for stage, of in by_stage.items() if of and (place, stage) not in self._shown}
        arm = next((node.arm for node in self._nodes if self._is_printed(node) and node.arm), "")
        names = {stage: row_name("" if stage == "bm25" else arm, shown) for stage, shown in shown_as.items()}
        measured = f"{self.collection or 'another collection'} ({', '.join(self.measures)})"
        tables = as_printed(left, self.paper_source, names, measured)
        return {PRINTED: tables} if tables else {}

    def all_curves(self) -> list[Curve]:
        """Losses of pre-training and of what it needs, then of each stage that trains, then values of validations."""
        losses = [Curve(f"Fine-tuning ({stage})", series) for stage, series in self._losses.items()]
        return [*self._curves, *losses, *(
            Curve(f"Validation ({stage})", series, y=measure, linear=True)
            for (stage, measure), series in self._validations.items()
        )]  # fmt: skip

    def _add_training(self, node: Node, lines: list[dict[str, float]]) -> None:
        if arm := pretraining_of(node.key):
            names = [name for name in lines[0] if name.startswith("loss/")]
            series = {name.removeprefix("loss/"): [(line["step"], line[name]) for line in lines] for name in names}
            self._curves.append(Curve(f"Pre-training ({arm})", series))
            if found := diagnosis(arm, lines):
                self.diagnoses.append(found)
        else:
            losses = self._losses.setdefault(node.stage, {})
            losses[node.name] = [(line["step"], line["loss"]) for line in lines]
            for name in dict.fromkeys(name for line in lines for name in line if name.startswith(VALIDATION)):
                looks = self._validations.setdefault((node.stage, name.removeprefix(VALIDATION)), {})
                looks[node.name] = [(line["step"], line[name]) for line in lines if name in line]
        self.settings[node.key] = _setting(node)

    def _is_printed(self, node: Node) -> bool:
        """Whether a paper prints this node: the arm with pre-training, or the only arm, and what all share."""
        arms = {other.arm for other in self._nodes if not other.foreign} - {""}
        return not node.arm or node.arm in (arms - {BASELINE} or arms)

    def _published(self, node: Node, place: str) -> dict[str, float]:
        """What the paper prints for a node in this place, which is shown by that."""
        printed = self.paper.get(place, {}).get(node.stage, {}) if self._is_printed(node) else {}
        self._shown |= {(place, node.stage)} if printed else set()
        return printed


def _setting(node: Node) -> str:
    """The options of a stage that trains."""
    config = node.config
    shown = ", ".join(f"{name} {config[name]}" for name in SHOWN if config.get(name) is not None)
    if every := (config.get("diagnostics") or {}).get("every"):
        shown += f", diagnostics every {every}"
    if (share := (config.get("train_queries") or {}).get("share", 1)) != 1:
        shown += f", {100 * share:g} % of the training queries"
    for mask, count in node.results.get("unmaskable", {}).items():
        shown += f", {mask} can select nothing of {count:,} passages"
    if step := node.context.get("pretrain_step"):
        reached = f"step {step:,}" if step >= 1 else f"{100 * step:g} %"
        shown += f", from {reached} of the pre-training"
    return shown


def _note(node: Node) -> str:
    """What stands below the name of an arm: how fast it is."""
    if node.stage == "bm25":
        return "Lucene's idf"
    if rate := node.results.get("pairs_per_second"):
        return f"re-orders the top {node.results['depth']}, {rate:,.0f} pairs/s"
    rate = node.results.get("passages_per_second")
    return f"encodes {rate:,.0f} passages/s" if rate else ""


def _generated(node: Node) -> dict[str, str]:
    """Who wrote the generated texts, how many there are, and a few of them."""
    results = node.results
    writers = "; ".join(f"{role} by {source}" for role, source in results["teachers"].items())
    counts = f"{results['queries']:,} queries, {results['passages_with_continuation']:,} continuations"
    shown = {"generate": f"{writers} ({counts})"}
    for example in read_json(node.directory / "examples.json"):
        text = " | ".join([*example["queries"], f"… {example['continuation'] or ''}"])
        shown[f"generated for {example['_id']}"] = f"{example['passage'][:160]} -> {text}"
    return shown


def _teacher_losses(directory: Path) -> Series:
    """Losses of the models that the generate stage trained itself."""
    paths = {path.parent.name: path for path in sorted(directory.glob("teachers/*/metrics.jsonl"))}
    return {role: [(line["step"], line["loss"]) for line in read_metrics(path)] for role, path in paths.items()}


def _corpus(node: Node) -> str:
    """The collection with its size."""
    record, corpus = Prepared(node.directory).record, node.config["corpus"]
    if "packages" in corpus:
        source = "documentation of " + ", ".join(corpus["packages"])
    else:
        source = corpus.get("path") or record["name"]
    size = f"{record['passages']:,} passages (titles: {record['title']}), {record['queries']:,} queries"
    given = node.config.get("documents") or node.config.get("neighbours") == COLLECTION_ORDER
    return f"{source}: {size}" + (f"; {record['order']}" if given else "")
