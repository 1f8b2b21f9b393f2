"""From YAML to objects: where `conf/` lies, how a node with `_target_` is built, and one-line explanations of mistakes.

`build` does what `hydra.utils.instantiate` does, but knows the config key of everything it builds, so that a wrong
value, a misspelt argument or a missing `_target_` is reported under the name that the user typed.
"""

import builtins
import functools
import importlib
import inspect
import re
import sys
import types
import typing
from contextlib import suppress
from dataclasses import is_dataclass
from pathlib import Path
from typing import Any

from bmae_lightning.runtime.checks import nearest
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.former import new_place, renamed_option
from bmae_lightning.runtime.postponed import Postponed, Unbuilt

PLUGINS = {
    "hydra/launcher": {"joblib": "joblib", "submitit_local": "submitit", "submitit_slurm": "submitit"},
    "hydra/sweeper": {"optuna": "optuna"},
}
"""Group of Hydra -> its option -> the extra that brings it."""


def config_directory() -> Path:
    """The directory of the YAML files: inside the installed package, or `conf/` at the root of a source checkout."""
    package = Path(__file__).resolve().parents[1]
    for candidate in (package / "conf", package.parent / "conf"):
        if (candidate / "config.yaml").is_file():
            return candidate
    raise BadInput(f"no conf/ directory beside {package}: install the package again with `pip install .`")


def build(node: Any, key: str = "") -> Any:
    """Build every `_target_` inside `node` (plain containers, as from `OmegaConf.to_container`).

    Args:
        node: dicts, lists and scalars; a dict with `_target_` becomes the call of that class or function, with
            `_partial_: true` a `functools.partial` of it.
        key: dotted config key of `node`, used in messages.

    Returns `Unbuilt` for what needs a library that is postponed.

    Raises:
        BadInput: an unknown target or argument, a value of the wrong type or refused by the constructor.
    """
    if isinstance(node, list):
        return [build(item, f"{key}[{i}]") for i, item in enumerate(node)]
    if not isinstance(node, dict):
        return node
    if "_target_" not in node:
        return {name: build(value, join(key, name)) for name, value in node.items()}
    arguments = {name: value for name, value in node.items() if name not in ("_target_", "_partial_")}
    try:
        target = locate(node["_target_"], key)
        _check_arguments(target, arguments, key, partial=bool(node.get("_partial_")))
    except Postponed:
        target = None
    arguments = {name: build(value, join(key, name)) for name, value in arguments.items()}
    if target is not None and node.get("_partial_"):
        return functools.partial(target, **arguments)
    try:
        return Unbuilt() if target is None else target(**arguments)
    except (ValueError, TypeError) as error:
        raise BadInput(f"{key}: {error}") from error
    except Postponed:
        return Unbuilt()


def join(key: str, name: str) -> str:
    return f"{key}.{name}" if key else str(name)


def locate(path: str, key: str) -> Any:
    """What a `_target_` names. Raises BadInput, under the key, where it cannot be imported."""
    module, _, name = path.rpartition(".")
    try:
        return getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        if place := new_place(path):
            raise BadInput(f"{key}._target_: {path} is now {place}") from error
        raise BadInput(f"{key}._target_: cannot import {path!r} ({error})") from error


def _check_arguments(target: Any, arguments: dict[str, Any], key: str, partial: bool) -> None:
    try:
        parameters = inspect.signature(target).parameters
    except ValueError:
        return
    if any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        return
    for name in arguments:
        if name not in parameters:
            raise BadInput(
                f"unknown option {join(key, name)!r}{renamed_option(join(key, name)) or nearest(name, parameters)}"
            )
    missing = [p.name for p in parameters.values() if p.default is p.empty and p.name not in arguments]
    if missing and not partial:
        raise BadInput(f"{key}: {', '.join(missing)} must be given")
    hints = _hints(target)
    for name, value in arguments.items():
        if name in hints and not _fits(value, hints[name]):
            wanted = getattr(hints[name], "__name__", str(hints[name]))
            raise BadInput(f"{join(key, name)} must be of type {wanted}, got {value!r}")


class _Names(dict):
    """Names of a module; what it imports for annotations alone, as torch, is not there and may be anything."""

    def __missing__(self, name: str) -> Any:
        return getattr(builtins, name, object)


def _hints(target: Any) -> dict[str, Any]:
    """Argument -> its annotation; a dataclass has those of its bases, each written with the names of its own module."""
    owners = reversed(target.__mro__) if is_dataclass(target) else [getattr(target, "__init__", target)]
    found: dict[str, Any] = {}
    for owner in owners if inspect.isclass(target) else [target]:
        module = sys.modules.get(getattr(owner, "__module__", ""), builtins)
        with suppress(TypeError, AttributeError):
            found |= inspect.get_annotations(owner, locals=_Names(vars(module)), eval_str=True)
    return found


def _fits(value: Any, hint: Any) -> bool:
    """Whether a YAML scalar fits an annotation; anything but int, float, bool, str and unions of them is accepted."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return any(_fits(value, option) for option in typing.get_args(hint))
    if isinstance(value, bool) and hint in (int, float):
        return False
    if typing.get_origin(hint) is list:
        return isinstance(value, list)
    accepted = {float: int | float} | {kind: kind for kind in (int, bool, str, types.NoneType)}
    return isinstance(value, accepted.get(hint, object))


def explain(error: Exception, overrides: list[str], directories: typing.Sequence[Path] = ()) -> str:
    """One line for an error of Hydra or OmegaConf while composing, with the nearest valid name where there is one.

    directories: where else than in `conf/` YAML files were looked for.
    """
    text = str(error).strip()
    if override := getattr(error, "override", None):
        quoted = "\"key=['R(rel=2)@10']\"" if "(" in override else "'key=[a,b]'"
        return f"{override}: not in Hydra's override grammar ({text.splitlines()[0]}); quote it, as in {quoted}"
    if match := re.search(r"Could not (?:find|load) '([^']+)/([^'/]+)'", text):
        group, option = match.groups()
        places = (config_directory(), *directories)
        options = [path.stem for directory in places for path in (directory / group).glob("*.yaml")]
        if extra := PLUGINS.get(group, {}).get(option):
            return f"{group}={option} needs the extra {extra!r}: pip install 'bmae_lightning[{extra}]'"
        options += PLUGINS.get(group, {})
        hint = renamed_option(f"{group}={option}") or nearest(option, options)
        return f"{group}={option}: there is no such option{hint}"
    if match := re.search(r"Could not (?:override|delete) '([^']+)'", text):
        name = match.group(1)
        hint = renamed_option(name) or nearest(name, _valid_keys(overrides))
        return f"unknown option {name!r}{hint} (see `--cfg job` for all of them)"
    if match := re.search(r"Interpolation key '([^']+)' not found", text):
        name = match.group(1)
        return f"the value ${{{name}}} refers to an option that does not exist{nearest(name, _valid_keys(overrides))}"
    return " ".join(text.split("Set the environment variable")[0].split())


def _valid_keys(overrides: list[str]) -> set[str]:
    """All dotted keys of the composition with as many of the overrides as can be composed."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra
    from omegaconf import OmegaConf

    GlobalHydra.instance().clear()
    groups = {path.name for path in config_directory().iterdir() if path.is_dir()}
    kept = [item for item in overrides if re.split(r"[=@]", item.lstrip("+~"), maxsplit=1)[0].strip() in groups]
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        for attempt in (kept, []):
            try:
                container = OmegaConf.to_container(compose("config", overrides=attempt), resolve=False)
                return _flatten(container) | groups
            except Exception:  # noqa: BLE001,S112  any composition error: fall back to the defaults
                continue
    return groups


def _flatten(node: Any, key: str = "") -> set[str]:
    if not isinstance(node, dict):
        return {key}
    return {key} - {""} | {found for name, value in node.items() for found in _flatten(value, join(key, str(name)))}
