"""What a job is, in words and numbers that a log, a dashboard and a page can show: method, encoder, masks, seed."""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from omegaconf import DictConfig

from bmae_lightning.report.along import AXES
from bmae_lightning.runtime.code_version import code_commit

LEFT_OUT = ("output_dir=", "logger")
"""Overrides that say nothing about what a job computes."""


def describe_job(config: dict[str, Any], hydra_cfg: DictConfig) -> dict[str, Any]:
    """The record of a job; all values are plain JSON.

    config: the resolved configuration.

    Returns `name` (of its arm), `group`, `method`, `experiment`, `encoder`, `scale`, `corpus`, `collection`, `recipe`,
    `reading` (choices of groups, None where there is none), `seed`, `masks` (part -> policy and rate), `overrides`,
    `command` (which repeats the job alone, in no group), `commit` (of the code, None outside a checkout), and `config`
    (all of it).
    """
    choices = hydra_cfg.runtime.choices
    groups = {name: choices.get(name) for name in ("method", "experiment", "encoder", "scale", "corpus", "recipe")}
    return {
        "name": config["name"], "group": config["group"] or config["name"], **groups, "reading": config["reading"],
        "collection": config["corpus"].get("collection"), "seed": config["seed"], "masks": masks_of(config),
        "overrides": overrides_of(hydra_cfg),
        "command": command_of(hydra_cfg, ("group=",)), "commit": code_commit(), "config": config,
    }  # fmt: skip


def masks_of(config: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Part of the model (`view.passage`, `decoders.enhanced`) -> the policy of its mask and, where it has one, rate."""
    parts = {f"{group}.{name}": part for group in ("view", "decoders") for name, part in config[group].items()}
    masks = {name: part["mask"] for name, part in parts.items() if isinstance(part.get("mask"), dict)}
    return {
        name: {"policy": mask["_target_"].rpartition(".")[2]} | ({"rate": mask["rate"]} if "rate" in mask else {})
        for name, mask in masks.items()
    }


def overrides_of(hydra_cfg: DictConfig) -> list[str]:
    """Those that say what a job computes."""
    return [item for item in hydra_cfg.overrides.task if not item.startswith(LEFT_OUT)]


def place_in_sweep(config: Mapping[str, Any], hydra_cfg: DictConfig) -> dict[str, Any]:
    """What tells a job from the others of its sweep: `overrides`, and `places` on the axes of curves."""
    return {"overrides": overrides_of(hydra_cfg), "places": {axis: config[axis] for axis in AXES}}


def command_of(hydra_cfg: DictConfig, left_out: tuple[str, ...] = (), flags: Sequence[str] = ()) -> str:
    """The command line that repeats a job alone, or a sweep with the flag `-m`.

    left_out: beginnings of overrides that are not part of it.
    """
    sources = [source.path for source in hydra_cfg.runtime.config_sources if source.provider == "command-line"]
    flags = [*flags, *(word for path in sources for word in ("-cd", path))]
    overrides = [item for item in hydra_cfg.overrides.task if not item.startswith(left_out)]
    return shlex.join(["python", "-m", "bmae_lightning", *flags, *overrides])
