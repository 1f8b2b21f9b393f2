"""`check=true`: compose, plan and check a job, and tell what it would take instead of running it."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bmae_lightning.command.pipeline import Pipeline
from bmae_lightning.command.plan import Node
from bmae_lightning.corpus.sizes import known_sizes
from bmae_lightning.encoder.checkpoint import find_checkpoint
from bmae_lightning.report.forecast import FORECASTS, Forecast
from bmae_lightning.retrieval.model_options import BM25
from bmae_lightning.runtime.configuration import build, join, locate
from bmae_lightning.runtime.cost import Sizes
from bmae_lightning.runtime.errors import Absent
from bmae_lightning.stage.prepared import Prepared

_seen: dict[tuple[Path, bool], Sizes] = {}
"""(directory of a stage that prepares a collection, whether it is done) -> sizes, found once for all jobs."""


def check(pipeline: Pipeline, name: str, expected: dict[str, Any] | None, tflops: float) -> None:
    """Add the job to `FORECASTS`.

    expected: published counts of the corpus.  tflops: see `Forecast`.

    Raises:
        BadInput: as `Pipeline.check`.
    """
    stages, job, nodes = pipeline.check(), Forecast(name, tflops, unchecked=pipeline.unchecked), pipeline.nodes
    for node in nodes.values():
        corpus = node if "corpus" in node.config else nodes.get(node.inputs.get("corpus") or "")
        sizes = _sizes(corpus, expected if corpus.stage == "prepare" else None) if corpus else Sizes()
        if node is corpus:
            job.collections[node.stage] = sizes
        job.stages[node.hash] = None
        if stage := stages.get(node.key):
            job.stages[node.hash] = stage.cost(sizes, {role: key and nodes[key] for role, key in node.inputs.items()})
            job.downloads = dict(_downloads(node.config, node.stage)) | job.downloads
    FORECASTS.append(job)


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
        for option in getattr(locate(options["_target_"], key), "hub", ()):
            listed = options.get(option) or []
            for model in listed if isinstance(listed, list) else [listed]:
                name = model["name"] if isinstance(model, dict) else model
                try:
                    if name != BM25:
                        find_checkpoint(name, options.get("package"))
                except Absent:
                    yield name, join(key, option)
    if hasattr(part := key.startswith("prepare") and key.endswith(".corpus") and build(options, key), "downloads"):
        yield from ((name, key) for name in part.downloads())
