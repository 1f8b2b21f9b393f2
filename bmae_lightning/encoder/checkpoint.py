"""Checkpoints in Hugging Face format: finding their files, and loading configuration and weights.

A checkpoint is carried by a Python package, lies in a local directory, or comes from the Hugging Face hub.
"""

import hashlib
import importlib.util
import json
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from bmae_lightning.runtime.cost import Shape
from bmae_lightning.runtime.errors import Absent, BadInput

CONFIG_FILES = ["*.json", "*.txt", "*.model"]
WEIGHT_FILES = ["*.safetensors", "pytorch_model.bin", "*/pytorch_model.bin"]
BERT = Shape(12, 768, 30522)
SHAPES = {
    "google/electra-base-generator": Shape(12, 256, 30522), "openai-community/gpt2": Shape(12, 768, 50257),
    "doc2query/msmarco-t5-base-v1": Shape(24, 768, 32128),
}  # fmt: skip
"""Of published checkpoints that are not BERT-base's, for estimates."""
_offline = ContextVar("offline", default=False)


@contextmanager
def without_downloads() -> Iterator[None]:
    """In this block `find_checkpoint` raises Absent for what is not on this machine, and does not ask the hub."""
    before = _offline.set(True)
    try:
        yield
    finally:
        _offline.reset(before)


def find_checkpoint(
    name: str,
    package: str | None = None,
    sha256: str | None = None,
    key: str = "encoder.name",
    weights: bool = True,
    whole: bool = False,
) -> Path:
    """Directory with config.json, tokenizer files and weights.

    Args:
        name: local directory or hub name.
        package: Python package that carries the checkpoint in its `model` directory; tried first, never imported.
        sha256: what the weights file must hash to; others are refused.
        key: config key of `name`, for messages.
        weights: whether the weights are wanted too.
        whole: the directory of all modules of sentence-transformers, not the one that its encoder may lie in.

    Raises:
        BadInput: nothing found, or other weights than asked for.
    """
    directory = _packaged(package) or (Path(name) if Path(name).is_dir() else None)
    directory = directory or _from_hub(name, package, key, CONFIG_FILES + WEIGHT_FILES * weights)
    if sha256:
        file = directory / "model.safetensors"
        found = hashlib.sha256(file.read_bytes()).hexdigest() if file.is_file() else "no such file"
        if found != sha256:
            raise BadInput(
                f"{file}: SHA-256 is {found}, not {sha256} as of the official {name}: install the package again "
                "or set encoder=hf encoder.name=DIR for another checkpoint"
            )
    return directory if whole else _encoder_in(directory)


def _encoder_in(directory: Path) -> Path:
    """Where sentence-transformers' old layout keeps config.json and weights: `0_Transformer/`."""
    modules = directory / "modules.json"
    if (directory / "config.json").is_file() or not modules.is_file():
        return directory
    listed = json.loads(modules.read_text(encoding="utf-8"))
    paths = (directory / part["path"] for part in listed if str(part.get("type", "")).endswith(".Transformer"))
    return next(paths, directory)


def _packaged(package: str | None) -> Path | None:
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or spec.origin is None:
        return None
    directory = Path(spec.origin).parent / "model"
    return directory if (directory / "config.json").is_file() else None


def _from_hub(name: str, package: str | None, key: str, files: list[str]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=files, local_files_only=_offline.get()))
    except Exception as error:
        if _offline.get():
            raise Absent(f"{key}={name} is not on this machine yet") from error
        install = f"`pip install {package.replace('_', '-')}`, or " if package else ""
        option = "encoder=hf encoder.name=DIR" if key == "encoder.name" else f"{key}=DIR"
        raise BadInput(
            f"{key}={name}: no such local directory, and the Hugging Face hub did not give it "
            f"({type(error).__name__}); {install}download it where there is a network and set {option}"
        ) from error


def read_config(directory: str | Path, label: str, **changes: Any) -> Any:
    """The transformers configuration in `directory`, with `changes`; BadInput, which begins with `label`, for none."""
    from transformers import AutoConfig

    try:
        return AutoConfig.from_pretrained(str(directory), **changes)
    except Exception as error:  # noqa: BLE001  each type of model checks its values in its own way
        raise BadInput(f"{label}: no model configuration in {directory} ({first_line(error)})") from error


def shape_of(part: Any) -> Shape:
    """Of an encoder, generator or teacher, for estimates: by its size, or by the name of its checkpoint.

    A checkpoint that is neither here nor in SHAPES is taken for BERT-base's.
    """
    name = part if isinstance(part, str) else getattr(part, "name", None)
    if name is None:
        size = getattr(getattr(part, "tokenizer", None), "size", BERT.vocabulary)
        return Shape(getattr(part, "layers", 0), getattr(part, "width", 0), size)
    try:
        config = read_config(find_checkpoint(name, getattr(part, "package", None)), name)
    except BadInput:
        return SHAPES.get(name, BERT)
    layers = config.num_hidden_layers + getattr(config, "num_decoder_layers", 0)
    return Shape(layers, config.hidden_size, config.vocab_size)


def load_checkpoint(
    kind: type,
    directory: str | Path,
    label: str,
    what: str,
    unused: str | None = None,
    new_head: bool = False,
    hint: str = "",
    **options: Any,
) -> tuple[Any, list[str]]:
    """A model in 32-bit weights, and the names of its parameters that the checkpoint lacks and that are therefore new.

    A parameter that shares its memory with one of the checkpoint (a tied output projection) is not new.

    Args:
        kind: class of transformers that loads it.
        label: what messages begin with, such as `encoder.name=DIR`.
        what: the kind of model, for messages.
        unused: parameters of the checkpoint that the model may have no use for, as a regular expression; None: any.
        new_head: whether parameters behind the network itself, and its pooler, may be missing.
        hint: end of the message about missing parameters.
        options: for `from_pretrained`.

    Raises:
        BadInput: unreadable, of another architecture, without a parameter that must be there or with one that the model
            has no use for.
    """
    import torch

    quiet_transformers()
    options |= {"dtype": torch.float32, "output_loading_info": True, "ignore_mismatched_sizes": True}
    try:
        model, loading = kind.from_pretrained(str(directory), **options)
    except Exception as error:  # noqa: BLE001  whatever is wrong with the files, it is the user's to know
        raise BadInput(
            f"{label}: no {what} can be read from {directory}: its weights are of another architecture than its "
            f"config.json, or cannot be read ({first_line(error)})"
        ) from error
    for name, found, wanted in sorted(loading["mismatched_keys"]):
        raise BadInput(
            f"{label}: no {what} can be read from {directory}: its weights are of another architecture than its "
            f"config.json ({name} is {list(found)}, not {list(wanted)})"
        )
    unread = [name for name in sorted(loading["unexpected_keys"]) if unused and not re.search(unused, name)]
    if unread:
        raise BadInput(
            f"{label}: {directory} has {len(unread)} parameters that a {type(model).__name__} does not read, such as "
            f"{unread[0]}: it would compute something else than the model that was trained"
        )
    new = _new(model, set(loading["missing_keys"]))
    network = f"{model.base_model_prefix}."
    lost = [name for name in new if not new_head or name.startswith(network) and ".pooler." not in name]
    if lost:
        part = "the network" if new_head else f"a {what}"
        raise BadInput(f"{label}: {directory} lacks {len(lost)} parameters of {part}, such as {lost[0]}{hint}")
    return model, new


def _new(model: Any, absent: Collection[str]) -> list[str]:
    """Those of the absent parameters that share their memory with no other."""
    named = dict(model.named_parameters(remove_duplicate=False))
    loaded = {value.data_ptr() for name, value in named.items() if name not in absent}
    return [name for name in sorted(absent) if name not in named or named[name].data_ptr() not in loaded]


def weight_names(directory: Path) -> list[str]:
    """The names of the parameters that lie in the files of a checkpoint."""
    from safetensors import safe_open
    from transformers.modeling_utils import load_state_dict

    names: list[str] = []
    for path in sorted(directory.glob("*.index.json")):
        names += json.loads(path.read_text(encoding="utf-8"))["weight_map"]
    for path in () if names else sorted(directory.glob("model.safetensors")):
        with safe_open(path, "pt") as file:
            names += file.keys()
    for path in () if names else sorted(directory.glob("pytorch_model.bin")):
        names += load_state_dict(str(path), map_location="meta")
    return names


def quiet_transformers() -> None:
    """No progress bars and warnings of transformers while it loads."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its class."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
