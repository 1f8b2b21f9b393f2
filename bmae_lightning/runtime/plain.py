"""Records (dataclasses) as plain JSON values and back; a number that is not finite is null in JSON, nan in a record.

A `Mean` over runs is an object of its mean, sd and runs.
"""

import dataclasses
import math
import types
import typing
from typing import Any

from bmae_lightning.runtime.mean import Mean

MEAN = {"mean", "sd", "runs"}
"""Keys of a `Mean` in JSON."""


def plain(value: Any) -> Any:
    """The value as strict JSON can hold it: records become dicts, tuples lists, numbers that are not finite None."""
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, Mean):
        return {"mean": plain(float(value)), "sd": plain(value.sd), "runs": value.runs}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def restored(kind: Any, value: Any) -> Any:
    """The inverse of `plain` for a value of this type; fields that are absent take their defaults.

    Raises:
        TypeError, AttributeError: the value does not have the form of `kind`.
    """
    if kind in (float, Any) and isinstance(value, dict) and value.keys() == MEAN:
        return Mean(restored(float, value["mean"]), restored(float, value["sd"]), value["runs"])
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        (wanted,) = (part for part in arguments if part is not types.NoneType)
        return None if value is None else restored(wanted, value)
    if dataclasses.is_dataclass(kind):
        hints = typing.get_type_hints(kind)
        return kind(**{name: restored(hints.get(name, Any), item) for name, item in value.items()})
    if origin is dict:
        return {key: restored(arguments[1], item) for key, item in value.items()}
    if origin is list:
        return [restored(arguments[0], item) for item in value]
    if origin is tuple:
        parts = [arguments[0]] * len(value) if arguments[-1] is ... else arguments
        return tuple(restored(part, item) for part, item in zip(parts, value, strict=True))
    return math.nan if kind is float and value is None else value
