"""Checks of option values, and the name that a misspelt one is near to.

`build` puts the configuration key of the object in front of a message.
"""

import difflib
from collections.abc import Collection, Iterable
from typing import Any

MOST_NAMES = 12
"""Names listed where nothing close to a misspelt one exists."""


def at_least(least: float, /, **values: float | None) -> None:
    """Raise ValueError, naming the option, where one of `values` is below `least`; None passes."""
    for name, value in values.items():
        if value is not None and value < least:
            raise ValueError(f"{name} must be at least {least}, got {value}")


def choice(options: Collection[str | None], **values: Any) -> None:
    """Raise ValueError, naming the option and all choices, where one of `values` is none of `options`."""
    for name, value in values.items():
        if value not in tuple(options):
            names = [option for option in options if option is not None]
            hint = nearest(str(value), names, otherwise="")
            raise ValueError(f"{name} must be one of {', '.join(names)}, got {value!r}{hint}")


def closest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that is spelt nearly like `name`, None where there is none."""
    return next(iter(difflib.get_close_matches(name, sorted(set(names)), n=1, cutoff=0.5)), None)


def nearest(name: str, names: Iterable[str], otherwise: str | None = None) -> str:
    """'; did you mean X?' where one of `names` is close to `name`, else `otherwise`, by default the list of `names`."""
    names = sorted(set(names))
    if near := closest(name, names):
        return f"; did you mean {near!r}?"
    if otherwise is not None or not names:
        return otherwise or ""
    return f"; there is {', '.join(names[:MOST_NAMES])}" + (" ..." if len(names) > MOST_NAMES else "")
