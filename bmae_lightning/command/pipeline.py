"""Run stages in order: plan the graph, skip what is done, resume what was interrupted, keep what is finished.

A node is a stage for an arm. Its directory is named by its fingerprint, so that runs with a common part share it and a
killed run continues; the marker `done` is written last.
"""

import dataclasses
import shutil
import time
from pathlib import Path
from typing import Any

from bmae_lightning.retrieval.model_options import BM25, label_models
from bmae_lightning.runtime.checks import nearest
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import write_json
from bmae_lightning.runtime.fingerprint import fingerprint
from bmae_lightning.runtime.process import print_once, process_rank
from bmae_lightning.runtime.run_stage import distributed, run_here_or_in_child
from bmae_lightning.runtime.snapshots import check_kept, check_step
from bmae_lightning.runtime.stage import Stage

PRETRAINING = "pretrain"
BASELINE_ARM = "none"
PLANNING_KEYS = ("inputs", "collects", "alone", "compare", "if_any", "on_demand")
"""Entries of a stage that say when it runs, not what it does."""
SPACE_NEEDED = 64 * 2**20
"""Bytes that must be free before a stage starts."""


@dataclasses.dataclass(frozen=True)
class Node:
    """One stage of one arm.

    Attributes:
        stage: name in the configuration.
        arm: name of the arm, empty where all arms share the stage.
        config: resolved configuration of the stage.
        inputs: role -> key of the node that makes it, None where this arm has none.
        hash: fingerprint.
        directory: where it writes.
        pretrain_step: which snapshot of its pre-training it starts from, None for the end or where it has none.
    """

    stage: str
    arm: str
    config: dict[str, Any]
    inputs: dict[str, str | None]
    hash: str
    directory: Path
    pretrain_step: int | None = None

    @property
    def key(self) -> str:
        return f"{self.stage}@{self.arm}" if self.arm else self.stage

    @property
    def done(self) -> bool:
        return (self.directory / "done").is_file()


def plan(config: dict[str, Any], arm: str, extra: dict[str, Any]) -> dict[str, Node]:
    """Every node that the selected stages need, in an order in which they can run.

    Args:
        config: resolved configuration; a top-level entry with `inputs` is a stage, one with `on_demand` runs only for
            another selected stage that names it, or when it is selected alone, one with `if_any` only if that is not
            empty or it is selected alone. One with `compare` (models from elsewhere) runs once for each, as an arm of
            its name. One with `collects` takes all nodes; with `alone` only those of stages that it collects, and none
            when it is selected alone. With `pretrain_step` the stages after pre-training start from that snapshot, with 0
            without pre-training.
        arm: name of the arm with pre-training; with `baseline` the arm `none` stands beside it.
        extra: stage, or its node's key, -> content of its fingerprint that is not configuration (files, versions).

    Raises:
        BadInput: an unknown stage or input, stages that need each other in a circle, or a snapshot that is not kept.
    """
    step = check_step(config.get("pretrain_step"))
    stages = {name: node for name, node in config.items() if isinstance(node, dict) and "inputs" in node}
    selected = [config["stage"]] if isinstance(config["stage"], str) else list(config["stage"])
    for name in selected:
        if name not in stages:
            raise BadInput(f"stage={name}: there is no such stage{nearest(name, stages)}")
    if len(selected) > 1:
        selected = [name for name in selected if stages[name].get("if_any", True)]
    if not selected:
        raise BadInput(f"stage is empty: name at least one of {', '.join(stages)}")
    arms = [BASELINE_ARM, arm] if config["baseline"] and arm != BASELINE_ARM else [arm]
    nodes: dict[str, Node] = {}

    def add(name: str, arm: str, inputs: dict[str, str | None], step: int | None = None, **options: Any) -> str:
        content = {key: value for key, value in stages[name].items() if key not in PLANNING_KEYS} | options
        hashes = {role: nodes[source].hash if source else None for role, source in inputs.items()}
        others = extra.get(f"{name}@{arm}", extra.get(name))
        digest = fingerprint(content, hashes if step is None else hashes | {"step": str(step)}, others)
        directory = Path(config["output_dir"]) / "store" / f"{name}-{digest}"
        node = Node(name, arm, content, inputs, digest, directory, step)
        nodes.setdefault(node.key, node)
        return node.key

    def visit(name: str, arm: str, trail: tuple[str, ...] = ()) -> str | None:
        if name in trail:
            raise BadInput(f"stages need each other in a circle: {' -> '.join((*trail, name))}")
        if name not in stages:
            raise BadInput(f"{trail[-1]}.inputs names an unknown stage {name!r}{nearest(name, stages)}")
        if name == PRETRAINING and (arm == BASELINE_ARM or step == 0):
            return None
        inputs = {
            role: source and visit(source, arm, (*trail, name)) for role, source in stages[name]["inputs"].items()
        }
        if "compare" in stages[name]:
            models = label_models(stages[name]["compare"], "compare", (*arms, BM25))
            if not models:
                raise BadInput(f"stage={name}: compare is empty; name retrievers, as 'compare=[DIR]'")
            for label, model in models.items():
                add(name, label, inputs, model=dataclasses.asdict(model))
            return None
        starts = [nodes[source] for source in inputs.values() if source and nodes[source].stage == PRETRAINING]
        for node in starts if step is not None else ():
            check_kept(step, node.config, node.directory, node.done)
        return add(name, arm if _depends(name, PRETRAINING, stages) else "", inputs, step if starts else None)

    collecting = [name for name in selected if "collects" in stages[name]]
    for name in selected:
        if name not in collecting and (len(selected) == 1 or not stages[name].get("on_demand")):
            for each in arms:
                visit(name, each)

    def collect(name: str) -> None:
        alone, own = stages[name].get("alone", False), []
        for source in [] if alone and selected == [name] else stages[name]["collects"]:
            chosen = source in selected or len(selected) == len(collecting)
            if not chosen or not stages[source].get("if_any", True):
                continue
            if "collects" in stages[source]:
                collect(source)
            else:
                own += [visit(source, each) for each in arms]
        add(name, "", {key: key for key in (own if alone else nodes) if key})

    for name in collecting:
        collect(name)
    return nodes


def _depends(name: str, wanted: str, stages: dict[str, Any]) -> bool:
    if name == wanted:
        return True
    return any(
        source and _depends(source, wanted, stages) for source in stages.get(name, {}).get("inputs", {}).values()
    )


class Pipeline:
    """Runs planned nodes.

    Args:
        nodes: from `plan`.
        selected: names of the stages that may run; the others must be done already.
        group: name of the W&B group.
        output_dir: directory of all outputs.
        origins: stage -> {its option: dotted key where the user sets it}, for messages.
        splits: judged splits of the corpus.
    """

    def __init__(
        self, nodes: dict[str, Node], selected: list[str], group: str, output_dir: Path,
        origins: dict[str, dict[str, str]], splits: list[str],
    ) -> None:  # fmt: skip
        self.nodes, self.selected, self.group, self.output_dir = nodes, selected, group, output_dir
        self.origins, self.splits = origins, splits

    def check(self) -> dict[str, Stage]:
        """Build every stage that will run and let it look ahead, so that a mistake stops the run before any work.

        Returns the stages by the key of their node.

        Raises:
            BadInput: a wrong option, or an input that is neither done nor selected.
        """
        stages = {}
        for node in self.nodes.values():
            if node.done:
                continue
            if node.stage not in self.selected:
                raise BadInput(
                    f"stage={self.selected} needs {node.key}, which is not done in {node.directory.parent}: "
                    f"add {node.stage} to stage=[...]"
                )
            for key, value in node.config.items():
                if isinstance(value, dict | list):
                    build(value, self.origins.get(node.stage, {}).get(key, f"{node.stage}.{key}"))
            stage = build(node.config, node.stage)
            stage.name = node.stage
            stage.preflight(self.splits)
            stage.check_inputs({role: key and self.nodes[key] for role, key in node.inputs.items()})
            stages[node.key] = stage
        return stages

    def run(self) -> None:
        """Run every node that is not done, in order."""
        stages = {} if all(node.done for node in self.nodes.values()) else self.check()
        for number, node in enumerate(self.nodes.values(), 1):
            label = f"[{number}/{len(self.nodes)}] {node.stage}" + (f" ({node.arm})" if node.arm else "")
            if node.done:
                print_once(f"{label}: skipped, done in {node.directory}")
            else:
                started = time.monotonic()
                print_once(f"{label}: {'continued' if node.directory.exists() else 'started'} in {node.directory}")
                self._run(node)
                print_once(f"{label}: done in {_duration(time.monotonic() - started)}")
            self._check_corpus(node, stages)

    def _check_corpus(self, corpus: Node, stages: dict[str, Stage]) -> None:
        """Let stages that read this node as their corpus look at it; the arms of a stage ask the same, so one of them."""
        readers = {
            self.nodes[key].stage: stage
            for key, stage in stages.items()
            if self.nodes[key].inputs.get("corpus") == corpus.key
        }
        for stage in readers.values():
            stage.check_corpus(corpus.directory)

    def _run(self, node: Node) -> None:
        if process_rank() != 0 and not distributed(node.config):
            _wait_for(node.directory / "done")
            return
        manifest = node.directory / "manifest.json"
        if process_rank() == 0:
            node.directory.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(node.directory).free
            if free < SPACE_NEEDED:
                raise BadInput(
                    f"disk full: {node.directory} has {free / 2**20:.0f} MiB free, {node.stage} needs at least "
                    f"{SPACE_NEEDED / 2**20:.0f} MiB: free space or set output_dir=DIR"
                )
            write_json(manifest, self._manifest(node))
        else:
            _wait_for(manifest)
        run_here_or_in_child(manifest, node.config)
        if process_rank() == 0:
            write_json(node.directory / "done", {"finished": time.strftime("%Y-%m-%dT%H:%M:%S%z")})
            shutil.rmtree(node.directory / "checkpoints", ignore_errors=True)  # nothing continues a finished stage
        else:
            _wait_for(node.directory / "done")

    def _manifest(self, node: Node) -> dict[str, Any]:
        inputs = {role: str(self.nodes[key].directory) if key else None for role, key in node.inputs.items()}
        context = {"stage": node.stage, "arm": node.arm, "directory": str(node.directory), "inputs": inputs}
        context |= {"group": self.group, "output_dir": str(self.output_dir), "pretrain_step": node.pretrain_step}
        return {"fingerprint": node.hash, "context": context, "config": node.config}


def _wait_for(path: Path, every_seconds: float = 0.2) -> None:
    while not path.is_file():
        time.sleep(every_seconds)


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds < 60 else f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
