"""Records as JSON values and back."""

import json
import math
from dataclasses import dataclass, field

import pytest

from bmae_lightning.runtime.plain import plain, restored


@dataclass(frozen=True)
class Inner:
    value: float
    pair: tuple[int, str] = (1, "a")


@dataclass(frozen=True)
class Outer:
    parts: list[Inner]
    named: dict[str, list[tuple[float, float]]]
    maybe: dict[str, float] | None = None
    more: tuple[Inner, ...] = field(default=())


def test_what_is_restored_is_what_was_there():
    record = Outer([Inner(0.5)], {"x": [(1.0, 2.0)]}, {"y": 3.0}, (Inner(1.0, (2, "b")), Inner(2.0)))
    assert restored(Outer, json.loads(json.dumps(plain(record)))) == record
    assert restored(Outer, {"parts": [], "named": {}}) == Outer([], {})


def test_numbers_that_are_not_finite_are_null_and_come_back_as_nan():
    content = plain(Outer([Inner(math.nan)], {"x": [(1.0, math.inf)]}))
    assert content["parts"][0]["value"] is None
    found = restored(Outer, content)
    assert math.isnan(found.parts[0].value)
    assert math.isnan(found.named["x"][0][1])
    assert found.maybe is None


def test_another_form_is_refused():
    with pytest.raises(TypeError):
        restored(Outer, {"part": []})
    with pytest.raises(AttributeError):
        restored(Outer, {"parts": [3], "named": {}})
