"""Objects from YAML nodes, and one clear line for every mistake in them."""

from dataclasses import dataclass, field

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.errors import HydraException
from support.paths import ROOT

from bmae_lightning.runtime.checks import nearest
from bmae_lightning.runtime.configuration import build, config_directory, explain
from bmae_lightning.runtime.errors import BadInput


class Part:
    def __init__(self, rate: float, layers: int = 1, name: str | None = None, inner: object = None) -> None:
        if not 0 < rate < 1:
            raise ValueError(f"rate must lie in (0, 1), got {rate}")
        self.rate, self.layers, self.name, self.inner = rate, layers, name, inner


@dataclass(kw_only=True)
class Options:
    """Options that several dataclasses share, checked by `__post_init__`."""

    rate: float
    layers: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.rate < 1:
            raise ValueError(f"rate must lie in (0, 1), got {self.rate}")


@dataclass(kw_only=True)
class MoreOptions(Options):
    """A required option and a mutable default after the inherited ones."""

    name: str | None
    names: list[str] = field(default_factory=list)


class SameOptions(MoreOptions):
    """No dataclass of its own: takes the constructor of its base."""


TARGET = f"{__name__}.Part"
DATACLASSES = [f"{__name__}.{kind.__name__}" for kind in (MoreOptions, SameOptions)]


@pytest.fixture(autouse=True)
def importable(monkeypatch):
    """The test module under its own name, whatever pytest's import mode made of it."""
    import sys

    monkeypatch.setitem(sys.modules, __name__, sys.modules.get(__name__) or __import__(__name__))


def test_builds_nested_objects_and_partials():
    node = {"a": {"_target_": TARGET, "rate": 0.5, "inner": {"_target_": TARGET, "rate": 0.25}}, "b": [1, "x"]}
    built = build(node)
    assert built["a"].inner.rate == 0.25
    assert built["b"] == [1, "x"]
    partial = build({"_target_": TARGET, "_partial_": True, "layers": 3})
    assert partial(rate=0.5).layers == 3


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"_target_": TARGET, "rate": 1.5}, ["top.mask", "rate must lie in (0, 1), got 1.5"]),
        ({"_target_": TARGET, "rate": 0.5, "layer": 2}, ["top.mask.layer", "did you mean 'layers'?"]),
        ({"_target_": TARGET, "rate": 0.5, "layers": "two"}, ["top.mask.layers must be of type int", "'two'"]),
        ({"_target_": TARGET, "rate": 0.5, "layers": True}, ["top.mask.layers must be of type int"]),
        ({"_target_": TARGET}, ["top.mask: rate must be given"]),
        ({"_target_": "no.such.thing"}, ["top.mask._target_", "no.such.thing"]),
    ],
)
def test_mistakes_name_the_key(node, words):
    with pytest.raises(BadInput) as caught:
        build({"mask": node}, "top")
    assert all(word in str(caught.value) for word in words), str(caught.value)


@pytest.mark.parametrize("target", DATACLASSES)
def test_dataclasses_are_built_with_inherited_fields_and_fresh_defaults(target):
    node = {"_target_": target, "rate": 0.5, "name": None}
    first, second = build(node, "top"), build(node, "top")
    assert (first.rate, first.layers, first.name, first.names) == (0.5, 1, None, [])
    assert first.names is not second.names


@pytest.mark.parametrize("target", DATACLASSES)
@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"name": "a"}, "top: rate must be given"),
        ({"rate": 0.5}, "top: name must be given"),
        ({"rate": 0.5, "name": "a", "layer": 2}, "unknown option 'top.layer'; did you mean 'layers'?"),
        ({"rate": 0.5, "name": "a", "layers": "two"}, "top.layers must be of type int, got 'two'"),
        ({"rate": "half", "name": "a"}, "top.rate must be of type float, got 'half'"),
        ({"rate": 0.5, "name": "a", "names": "b"}, "top.names must be of type list, got 'b'"),
        ({"rate": 1.5, "name": "a"}, "top: rate must lie in (0, 1), got 1.5"),
    ],
)
def test_mistakes_in_the_options_of_a_dataclass_are_one_line_that_names_the_key(target, options, line):
    with pytest.raises(BadInput) as caught:
        build({"_target_": target} | options, "top")
    assert str(caught.value) == line


def test_nearest_suggests_or_lists():
    assert nearest("shalow", ["shallow", "enhanced"]) == "; did you mean 'shallow'?"
    assert nearest("zzz", ["shallow", "enhanced"]) == "; there is enhanced, shallow"


def test_explain_names_the_nearest_key_of_the_composition():
    error = Exception("Could not override 'pretrain.stps'.\nTo append ...\nfull_key: pretrain.stps")
    line = explain(error, ["pretrain.stps=3"])
    assert "'pretrain.stps'" in line
    assert "did you mean 'pretrain.steps'?" in line
    assert "\n" not in line


@pytest.mark.parametrize(
    ("option", "extra"),
    [
        ("hydra/launcher=joblib", "joblib"), ("hydra/launcher=submitit_slurm", "submitit"),
        ("hydra/sweeper=optuna", "optuna"),
    ],
)  # fmt: skip
def test_a_plugin_that_is_not_installed_is_told_with_its_extra(option, extra, monkeypatch):
    group, _, name = option.partition("=")
    monkeypatch.delitem(ConfigStore.instance().repo["hydra"][group.removeprefix("hydra/")], f"{name}.yaml")
    with initialize_config_dir(str(config_directory()), version_base="1.3"), pytest.raises(HydraException) as missing:
        compose("config", overrides=[option])
    line = f"{option} needs the extra {extra!r}: pip install 'bmae_lightning[{extra}]'"
    assert explain(missing.value, [option]) == line
    assert f"\n{extra} =\n" in (ROOT / "setup.cfg").read_text()


def test_a_misspelt_launcher_is_told_the_nearest():
    assert "did you mean 'joblib'?" in explain(Exception("Could not find 'hydra/launcher/jobli'"), [])


def test_config_directory_has_the_main_file():
    assert (config_directory() / "config.yaml").is_file()
