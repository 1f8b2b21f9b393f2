"""Composing many jobs in one process: Hydra parses every YAML file and interpolation once, not again for each."""

import copy
import functools

import omegaconf.base
import pytest
from hydra._internal import defaults_list
from hydra.core.plugins import Plugins

Plugins.instance()  # makes the classes of its modules anew, the next one among them
from hydra._internal.core_plugins.file_config_source import FileConfigSource  # noqa: E402

_load, _interpolation_map = FileConfigSource.load_config, defaults_list._create_interpolation_map
_loaded: dict[tuple[str, str], object] = {}
_parse = functools.cache(omegaconf.base.parse)


def quicken(monkeypatch: pytest.MonkeyPatch) -> None:
    """Until the end of the test; what is composed stays the same."""

    def load_config(self, config_path):
        key = (self.path, config_path)
        if key not in _loaded:
            _loaded[key] = _load(self, config_path=config_path)
        return copy.deepcopy(_loaded[key])

    def interpolation_map(overrides, defaults, self_added):
        needed = any(not item.is_self() and item.is_interpolation() for item in defaults)
        return _interpolation_map(overrides, defaults, self_added) if needed else None

    monkeypatch.setattr(FileConfigSource, "load_config", load_config)
    monkeypatch.setattr(defaults_list, "_create_interpolation_map", interpolation_map)
    monkeypatch.setattr(omegaconf.base, "parse", _parse)
