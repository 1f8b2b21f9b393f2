"""Where modules of version 0.1 and renamed options are now, for the one line that answers their use.

`former_places.txt` holds a former module (or a name in it) and its new place a line, `former_options.txt` a former
option and what is used instead. Nothing is forwarded: there is no compatibility layer.
"""

from fnmatch import fnmatchcase
from functools import cache
from importlib.abc import MetaPathFinder
from pathlib import Path

PACKAGE = "bmae_lightning."


@cache
def _table(name: str) -> dict[str, str]:
    lines = Path(__file__).with_name(name).read_text(encoding="utf-8").splitlines()
    return dict(line.split(" ", 1) for line in lines if line)


def new_place(path: str) -> str | None:
    """The new dotted path of a former module, class or function of the package, None for any other path."""
    places, parts = _table("former_places.txt"), path.removeprefix(PACKAGE).split(".")
    if not path.startswith(PACKAGE):
        return None
    for length in range(len(parts), 0, -1):
        if place := places.get(".".join(parts[:length])):
            return PACKAGE + ".".join([place, *parts[length:]])
    return None


def renamed_option(key: str) -> str:
    """'; use X' for an option of an earlier version, by its dotted key; empty for any other key."""
    found = next((new for old, new in _table("former_options.txt").items() if fnmatchcase(key, old)), None)
    return f"; use {found}" if found else ""


class FormerPlaces(MetaPathFinder):
    """Asked last, for modules that no other finder knows: names the new place of a former one."""

    def find_spec(self, name: str, path: object = None, target: object = None) -> None:
        if place := new_place(name):
            former = name.removeprefix(PACKAGE)
            apart = [f"{old} is {PACKAGE}{new}" for old, new in _table("former_places.txt").items()
                     if old.startswith(f"{former}.")]  # fmt: skip
            raise ModuleNotFoundError(f"{name} is now {place}" + "".join(f", {each}" for each in apart), name=name)
