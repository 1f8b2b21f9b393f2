"""Building in waves: what needs a slow library waits, everything else is built and checked; tried with one made up."""

import sys

import pytest

from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.postponed import SLOW, Postponed, Unbuilt, postponing, waves


class Pair:
    def __init__(self, left: object, right: int = 0) -> None:
        if right < 0:
            raise ValueError(f"right={right} is negative")
        self.left, self.right = left, right


class Looking(Pair):
    def __init__(self, left: object, right: int = 0) -> None:
        super().__init__(left, right)
        self.width = left.width


@pytest.fixture
def slow(tmp_path, monkeypatch):
    """A node whose class stands in a module that imports a library called `ponderous`."""
    (tmp_path / "ponderous.py").write_text("")
    (tmp_path / "user_part.py").write_text(
        "import ponderous\n"
        "class Part:\n    width = 3\n    def __init__(self, inner=None):\n        self.inner = inner\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    for name in ("ponderous", "user_part"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield {"_target_": "user_part.Part"}
    for name in ("ponderous", "user_part"):
        sys.modules.pop(name, None)


def node(kind: type, **options: object) -> dict:
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}", **options}


def test_a_part_that_waits_is_built_afterwards(slow):
    with postponing(("ponderous",)):
        assert isinstance(build(slow, "part"), Unbuilt)
        made = build(node(Pair, left=slow, right=2), "pair")
        assert isinstance(made.left, Unbuilt)
        assert made.right == 2
    assert "user_part" not in sys.modules
    assert build(node(Looking, left=slow), "pair").width == 3


def test_who_looks_at_it_waits_too(slow):
    with postponing(("ponderous",)):
        assert isinstance(build(node(Looking, left=slow), "pair"), Unbuilt)
        with pytest.raises(Postponed):
            bool(build(slow, "part"))


@pytest.mark.parametrize("place", ["around", "inside"])
def test_what_lies_around_and_inside_it_is_checked(slow, place):
    wrong = node(Pair, left=None, right=-1)
    broken = slow | {"inner": wrong} if place == "inside" else node(Pair, left=slow, right=-1)
    with postponing(("ponderous",)), pytest.raises(BadInput, match="right=-1 is negative"):
        build(broken, "pair")


def test_the_gate_is_open_again_after_an_error(slow):
    before = list(sys.meta_path)
    with pytest.raises(KeyError), postponing(("ponderous",)):
        raise KeyError
    assert sys.meta_path == before


def test_there_is_one_wave_where_all_is_loaded(monkeypatch):
    for name in SLOW:
        monkeypatch.setitem(sys.modules, name, sys)
    assert waves() == [()]
    monkeypatch.delitem(sys.modules, "transformers")
    assert [len(names) for names in waves()] == [len(SLOW), len(SLOW) - 1, 0]
