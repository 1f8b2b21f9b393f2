"""Configurations as a command composes them, resolved unless told otherwise."""

from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from support.paths import CONF

from bmae_lightning.command.resolve import INSTANCES


def composed(*overrides: str, resolve: bool = True) -> dict[str, Any]:
    """Without what a method sets for decoders and losses that are not selected, as a command drops it."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=resolve)
    for node in [config, *(node for node in config.values() if isinstance(node, dict))]:
        for group in INSTANCES:
            if isinstance(node.get(group), dict):
                node[group] = {name: part for name, part in node[group].items() if "_target_" in part}
    return config
