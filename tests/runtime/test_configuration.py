"""Objects from YAML nodes, and one clear line for every mistake in them."""

import pytest

from bmae_lightning.runtime.configuration import build, config_directory, explain, nearest
from bmae_lightning.runtime.errors import BadInput


class Part:
    def __init__(self, rate: float, layers: int = 1, name: str | None = None, inner: object = None) -> None:
        if not 0 < rate < 1:
            raise ValueError(f"rate must lie in (0, 1), got {rate}")
        self.rate, self.layers, self.name, self.inner = rate, layers, name, inner


TARGET = f"{__name__}.Part"


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


def test_nearest_suggests_or_lists():
    assert nearest("shalow", ["shallow", "enhanced"]) == "; did you mean 'shallow'?"
    assert nearest("zzz", ["shallow", "enhanced"]) == "; there is enhanced, shallow"


def test_explain_names_the_nearest_key_of_the_composition():
    error = Exception("Could not override 'pretrain.stps'.\nTo append ...\nfull_key: pretrain.stps")
    line = explain(error, ["pretrain.stps=3"])
    assert "'pretrain.stps'" in line
    assert "did you mean 'pretrain.steps'?" in line
    assert "\n" not in line


def test_config_directory_has_the_main_file():
    assert (config_directory() / "config.yaml").is_file()
