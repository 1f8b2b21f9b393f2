"""A composed configuration as plain containers, with what can be refused without looking at any file."""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from bmae_lightning.command.budget import spend
from bmae_lightning.report.printed import check_options
from bmae_lightning.runtime.checks import nearest
from bmae_lightning.runtime.configuration import config_directory
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.former import renamed_option

INSTANCES = ("view", "decoders", "losses")
"""Groups that are lists of named instances, at the top or in a stage; each entry needs a `_target_`."""


def resolved(cfg: DictConfig, hydra_cfg: DictConfig) -> dict[str, Any]:
    """The configuration as plain containers, its groups and values checked.

    Raises:
        BadInput: something is not given, of another kind than it must be, or for a part that is not selected.
    """
    if missing := OmegaConf.missing_keys(cfg):
        key = min(missing)
        raise BadInput(f"{key} must be given: add {key}=VALUE to the command")
    for group in INSTANCES:
        for place in [group, *(f"{name}.{group}" for name, node in cfg.items() if isinstance(node, DictConfig))]:
            if OmegaConf.select(cfg, place) is not None:
                _drop_unselected(cfg, hydra_cfg, group, place)
    config: dict[str, Any] = OmegaConf.to_container(cfg, resolve=True)
    _check_groups(config, hydra_cfg)
    _check_values(config)
    check_options(config)
    spend(config)
    config["output_dir"] = str(Path(config["output_dir"]).absolute())
    return config


def _check_groups(config: dict[str, Any], hydra_cfg: DictConfig) -> None:
    """Refuse `+group=option` where there is no such group: Hydra would make it a new key, which nothing reads."""
    for item in hydra_cfg.overrides.task:
        key = item[1:].partition("=")[0]
        if item.startswith("+") and isinstance(config.get(key), str) and key not in hydra_cfg.runtime.choices:
            groups = [path.name for path in config_directory().iterdir() if path.is_dir()]
            hint = renamed_option(item[1:]) or (
                f" (tables of papers and their rows need -cd experiments){nearest(key, groups)}"
            )
            raise BadInput(f"{item}: there is no group {key!r}{hint}")


def _check_values(config: dict[str, Any]) -> None:
    """Refuse values of another kind where a traceback would follow."""
    general, tflops = config["general"]["corpus"], config["check_tflops"]
    if general is not None and not (isinstance(general, dict) and "_target_" in general):
        raise BadInput(
            f"general.corpus={general} is no collection: name its format and its place, as "
            "corpus@general.corpus=files general.corpus.path=DIR"
        )
    for key in ("check", "fail_fast"):
        if not isinstance(config[key], bool):
            raise BadInput(f"{key}={config[key]} must be true or false")
    if isinstance(tflops, bool) or not isinstance(tflops, int | float) or not tflops > 0:
        raise BadInput(f"check_tflops={tflops} must be a number above 0, 10^12 operations a second of a GPU")


def _drop_unselected(cfg: DictConfig, hydra_cfg: DictConfig, group: str, place: str) -> None:
    """Remove what an experiment sets for instances that the command has left out, as decoders=[…] does.

    place: dotted key of the list, `decoders` or `retriever1.losses`.

    Raises:
        BadInput: settings for something that the group does not offer, or that the command itself names.
    """
    sources = [Path(source.path) for source in hydra_cfg.runtime.config_sources if source.schema == "file"]
    offered = {path.stem for source in sources for path in (source / group).glob("*.yaml")}
    typed = {override.lstrip("+").split("=")[0] for override in hydra_cfg.overrides.task}
    found = OmegaConf.select(cfg, place)
    left = [name for name, node in found.items() if not isinstance(node, DictConfig) or "_target_" not in node]
    for name in left:
        if name not in offered:
            known = {other for other in found if other not in left} | offered
            raise BadInput(f"{place}.{name} is no known instance{nearest(name, known)}")
        if any(key.startswith(f"{place}.{name}.") for key in typed):
            override = group if place == group else f"{group}@{place}"
            raise BadInput(f"{place}.{name} is set but not selected: add {name} to {override}=[…]")
        with open_dict(cfg):
            del found[name]
    if left and not found and place.startswith("general."):  # [] means the method's own there
        with open_dict(cfg):
            del cfg.general[group]
