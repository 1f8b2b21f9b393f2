"""`check=true`: compose, plan and check a job, and tell what it would take instead of running it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bmae_lightning.command.pipeline import Pipeline
from bmae_lightning.command.plan import Node
from bmae_lightning.corpus.absent import AbsentCorpus
from bmae_lightning.corpus.collection import Collection
from bmae_lightning.corpus.sizes import known_sizes
from bmae_lightning.encoder.checkpoint import find_checkpoint
from bmae_lightning.evaluation.measure.ranking import TRAIN
from bmae_lightning.evaluation.suite.collections import LIBRARY
from bmae_lightning.report.along import AXES
from bmae_lightning.report.forecast import FORECASTS, Forecast
from bmae_lightning.retrieval.model_options import BM25
from bmae_lightning.runtime.configuration import build, join, locate
from bmae_lightning.runtime.cost import Sizes
from bmae_lightning.runtime.errors import Absent
from bmae_lightning.stage.prepared import Prepared

_seen: dict[tuple[Path, bool], Sizes] = {}
"""(directory of a stage that prepares a collection, whether it is done) -> sizes, found once for all jobs."""


def check(pipeline: Pipeline, name: str, published: dict[str, Any], tflops: float) -> None:
    """Add the job to `FORECASTS`.

    published: stage that prepares a collection -> its counts.  tflops: see `Forecast`.

    Raises:
        BadInput: as `Pipeline.check`.
    """
    stages, job, nodes = pipeline.check(), Forecast(name, tflops, unchecked=pipeline.unchecked), pipeline.nodes
    for node in nodes.values():
        corpus = node if "corpus" in node.config else nodes.get(node.inputs.get("corpus") or "")
        sizes = _sizes(corpus, published.get(corpus.stage)) if corpus else Sizes()
        if node is corpus:
            job.collections[node.stage] = sizes
        job.stages[node.hash] = None
        if stage := stages.get(node.key):
            inputs = {role: key and nodes[key] for role, key in node.inputs.items()}
            job.stages[node.hash], known = stage.cost(sizes, inputs).known()
            job.uncounted += [] if known else [node.stage]
            job.downloads = dict(_downloads(node.config, node.stage)) | job.downloads
    FORECASTS.append(job)


def row_label(config: dict[str, Any]) -> str:
    """What the table calls a job: as its row is printed, else by the name of its arm and its place on an axis."""
    row, usual = config["paper_row"] or {}, (None, 1.0)
    label = row.get("label")
    name = label if isinstance(label, str) else row.get("system") or config["name"]
    return " ".join([name, *(f"{axis}={config[axis]}" for axis in AXES if not label and config[axis] not in usual)])


def stand_in(config: dict[str, Any], asked: dict[str, Any]) -> None:
    """Replace collections whose folder is not given or not there by an `AbsentCorpus`, wherever stages have them.

    asked: `expected`, `evaluated` and `collection` of the corpus.
    """
    splits = list(dict.fromkeys([TRAIN, *((asked["expected"] or {}).get("splits") or {}), *asked["evaluated"]]))
    general, read = config["prepare_general"], config["pretrain"]["inputs"]["corpus"]
    if general["corpus"] is None and "prepare" not in ([read] if isinstance(read, str) else read):
        general["corpus"] = general["if_any"] = {"path": None}
    for key, node in [("", config), *config.items()]:
        corpus = node.get("corpus") if isinstance(node, dict) else None
        if isinstance(corpus, dict) and "path" in corpus and not _there(corpus["path"]):
            name = "a general collection" if key.endswith("general") else asked["collection"] or "the collection"
            path = corpus["path"]
            node["corpus"] = _absent(f"{name} ({path} is not there)" if path else name, splits)
            if "columns" in corpus:  # of lines with tabs, which do not say it
                node["corpus"]["documents"] = any(".jsonl" in file for file in corpus["passages"])
    suite = config["suite"]
    listed = [suite["collections"]] if isinstance(suite["collections"], str) else suite["collections"]
    named = [name for name in listed if isinstance(name, str) and not _there(name)]
    if named and suite["path"] != LIBRARY and not _there(suite["path"]):
        suite["collections"] = [_absent(", ".join(named), [suite["split"]])]


def _there(path: str | None) -> bool:
    return path is not None and Path(path).expanduser().is_dir()


def _absent(what: str, splits: list[str]) -> dict[str, Any]:
    return {"_target_": f"{AbsentCorpus.__module__}.{AbsentCorpus.__qualname__}", "what": what, "splits": splits}


def _sizes(node: Node, expected: dict[str, Any] | None) -> Sizes:
    key = node.directory, node.done
    if key not in _seen:
        corpus = build(node.config["corpus"], "corpus")
        _seen[key] = _prepared_sizes(node.directory) if node.done else known_sizes(corpus, expected)
    return _seen[key]


def _prepared_sizes(directory: Path) -> Sizes:
    prepared = Prepared(directory)
    lengths, queries = prepared.passages().lengths, {split: len(prepared.qrels(split)) for split in prepared.splits}
    return Sizes(len(lengths), 2 + float(lengths.mean()), queries, "prepared")


def _downloads(options: Any, key: str) -> Iterator[tuple[str, str]]:
    """(name, option that names it) of the checkpoints and collections in a stage's options that are not here."""
    if isinstance(options, list):
        for number, value in enumerate(options):
            yield from _downloads(value, f"{key}[{number}]")
    if not isinstance(options, dict):
        return
    for name, value in options.items():
        yield from _downloads(value, join(key, name))
    if "_target_" in options:
        target = locate(options["_target_"], key)
        for option in getattr(target, "hub", ()):
            listed = options.get(option) or []
            for model in listed if isinstance(listed, list) else [listed]:
                name = model["name"] if isinstance(model, dict) else model
                try:
                    if name != BM25:
                        find_checkpoint(name, options.get("package"))
                except Absent:
                    yield name, join(key, option)
        if isinstance(target, type) and issubclass(target, Collection):
            yield from ((name, key) for name in build(options, key).downloads())
