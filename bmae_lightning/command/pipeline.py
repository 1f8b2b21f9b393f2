"""Run planned stages in order: skip what is done, resume what was interrupted, keep what is finished.

A stage marks its directory as done at its end (`runtime/run_stage.py`), so that a killed run continues.
"""

import functools
import shutil
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bmae_lightning.command.plan import Node
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import Absent, BadInput
from bmae_lightning.runtime.fingerprint import fingerprint
from bmae_lightning.runtime.postponed import Postponed, postponing, waves
from bmae_lightning.runtime.process import made_by_first, print_once, process_rank
from bmae_lightning.runtime.progress import duration
from bmae_lightning.runtime.run_stage import (
    DONE,
    MANIFEST,
    count_former,
    distributed,
    run_here_or_in_child,
    write_manifest,
)  # fmt: skip
from bmae_lightning.runtime.stage import Stage

SPACE_NEEDED = 64 * 2**20
"""Bytes that must be free before a stage starts."""


@dataclass
class Pipeline:
    """Runs planned nodes.

    Args:
        nodes: from `plan`.
        group: name of the W&B group.
        output_dir: directory of all outputs.
        origins: stage -> {its option: dotted key where the user sets it}, for messages.
        splits: judged splits of the corpus.
        job: what is being run (`describe_job`), for logs.
        elsewhere: whether it will run on another machine, so that the devices of this one do not matter.
        unchecked: stages that could not look ahead for want of a checkpoint, where nothing is downloaded.
    """

    nodes: dict[str, Node]
    group: str
    output_dir: Path
    origins: dict[str, dict[str, str]]
    splits: list[str]
    job: dict[str, Any] = field(default_factory=dict)
    elsewhere: bool = False
    unchecked: list[str] = field(default_factory=list, init=False)

    def check(self) -> dict[str, Stage]:
        """Build every stage that will run and let it look ahead, so that a mistake stops the run before any work.

        Whatever needs no slow library comes first. Returns the stages by the key of their node.

        Raises:
            BadInput: a wrong option, or an input that is missing.
        """
        stages: dict[str, Stage] = {}
        for slow in waves():
            self.unchecked.clear()
            with postponing(slow):
                stages = {node.key: self._checked(node) for node in self.nodes.values() if not node.done}
        return stages

    def _checked(self, node: Node) -> Stage:
        """The stage of a node; what is postponed of it is not checked."""
        for key, value in node.config.items():
            if isinstance(value, dict | list):
                build(value, self.origins.get(node.stage, {}).get(key, f"{node.stage}.{key}"))
        stage = build(_on_cpus(node.config) if self.elsewhere else node.config, node.stage)
        stage.name, inputs = node.stage, {role: key and self.nodes[key] for role, key in node.inputs.items()}
        try:
            with suppress(Postponed):
                stage.check_inputs(inputs)
            with suppress(Postponed):
                stage.preflight(self.splits)
                stage.check_inputs(inputs)
        except Absent:
            self.unchecked.append(node.stage)
        return stage

    def fingerprint(self) -> str:
        """Of the job: of the fingerprints of its stages."""
        return fingerprint({key: node.hash for key, node in self.nodes.items()}, {}, None)

    def run(self) -> None:
        """Run every node that is not done, in order."""
        _name_former(self.output_dir / "store")
        stages = self.check()
        for number, node in enumerate(self.nodes.values(), 1):
            label = f"[{number}/{len(self.nodes)}] {node.stage}" + (f" ({node.arm})" if node.arm else "")
            if node.done:
                print_once(f"{label}: skipped, done in {node.directory}")
            else:
                started = time.monotonic()
                print_once(f"{label}: {'continued' if node.directory.exists() else 'started'} in {node.directory}")
                self._run(node)
                print_once(f"{label}: done in {duration(time.monotonic() - started)}")
            self._check_corpus(node, stages)

    def _check_corpus(self, corpus: Node, stages: dict[str, Stage]) -> None:
        """Let stages that read this node as their corpus look at it, one arm of each, since all arms ask the same."""
        readers = {
            self.nodes[key].stage: stage
            for key, stage in stages.items()
            if self.nodes[key].inputs.get("corpus") == corpus.key
        }
        for stage in readers.values():
            stage.check_corpus(corpus.directory)

    def _run(self, node: Node) -> None:
        first, manifest = process_rank() == 0, node.directory / MANIFEST
        if first:
            node.directory.mkdir(parents=True, exist_ok=True)
            free = shutil.disk_usage(node.directory).free
            if free < SPACE_NEEDED:
                raise BadInput(
                    f"disk full: {node.directory} has {free / 2**20:.0f} MiB free, {node.stage} needs at least "
                    f"{SPACE_NEEDED / 2**20:.0f} MiB: free space or set output_dir=DIR"
                )
            write_manifest(node.directory, node.hash, self._context(node), node.config)
        if first or distributed(node.config):
            made_by_first(manifest)
            run_here_or_in_child(manifest, node.config)
        if first:
            shutil.rmtree(node.directory / "checkpoints", ignore_errors=True)  # nothing continues a finished stage
        made_by_first(node.directory / DONE)

    def _context(self, node: Node) -> dict[str, Any]:
        inputs = {role: str(self.nodes[key].directory) if key else None for role, key in node.inputs.items()}
        return {
            "stage": node.stage, "arm": node.arm, "directory": str(node.directory), "inputs": inputs,
            "group": self.group, "output_dir": str(self.output_dir), "pretrain_step": node.pretrain_step,
            "job": self.job,
        }  # fmt: skip


def _on_cpus(config: dict[str, Any]) -> dict[str, Any]:
    """The options of a stage with CPUs in place of as many other devices."""
    trainers = {key: value | {"accelerator": "cpu"} for key, value in config.items() if key in ("trainer", "processes")}
    return config | trainers


@functools.cache  # once for all jobs of a sweep
def _name_former(store: Path) -> None:
    if former := count_former(store):
        print_once(f"{store}: {former:,} stages of an earlier version are left alone; this version does not read them")
