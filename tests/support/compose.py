"""Configurations as a command composes them, resolved unless told otherwise."""

from typing import Any

from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from support.paths import CONF


def composed(*overrides: str, resolve: bool = True) -> dict[str, Any]:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=resolve)
