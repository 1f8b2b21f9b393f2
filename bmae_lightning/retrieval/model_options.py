"""One entry of `compare` or `suite.models`: the name of a retriever, and what its own files do not say."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bmae_lightning.retrieval.retriever_config import POOLINGS, SIMILARITIES
from bmae_lightning.runtime.checks import choice
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import BadInput

BM25 = "bm25"


@dataclass(frozen=True)
class ModelOptions:
    """A retriever from elsewhere.

    Attributes:
        name: local directory, hub name, or `bm25`.
        label: its name in tables; None for the end of `name`.
        pooling, similarity: of a checkpoint that does not say (`cls` and `dot` if not given).
        query_length, passage_length: word pieces with [CLS] and [SEP]; None for the model's own.
        query_prefix, passage_prefix: put before every text; None for the model's own.
        segments: token type 1 behind the [SEP] between title and text (corpus.title=pair), as SimLM's checkpoints; None
            for the model's own.
        package: Python package that carries the checkpoint.
    """

    name: str
    label: str | None = None
    pooling: str | None = None
    similarity: str | None = None
    query_length: int | None = None
    passage_length: int | None = None
    query_prefix: str | None = None
    passage_prefix: str | None = None
    segments: bool | None = None
    package: str | None = None

    def __post_init__(self) -> None:
        choice((None, *POOLINGS), pooling=self.pooling)
        choice((None, *SIMILARITIES), similarity=self.similarity)


def parse_model(entry: Any, key: str) -> ModelOptions:
    """A name, or options by name as `{name: DIR, query_prefix: "query: "}`.

    Raises:
        BadInput: anything else.
    """
    entry = {"name": entry} if isinstance(entry, str) else entry
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise BadInput(f"{key}: {entry!r} is no retriever; give NAME, DIR or {{name: NAME, query_prefix: ...}}")
    return build(entry | {"_target_": f"{ModelOptions.__module__}.{ModelOptions.__name__}"}, key)


def label_models(entries: Sequence[Any], key: str, taken: Sequence[str] = ()) -> dict[str, ModelOptions]:
    """label -> options, in order.

    A model is called by the last two parts of its name (a hub name is whole then), or by its `label`.

    Raises:
        BadInput: an entry that is none, or two with one label; `taken` are names that rows have already.
    """
    if not isinstance(entries, list | tuple):
        raise BadInput(f"{key} must be a list, as '{key}=[bm25,DIR]', got {entries!r}")
    labelled: dict[str, ModelOptions] = {}
    for number, entry in enumerate(entries):
        options = parse_model(entry, f"{key}[{number}]")
        label = options.label or "/".join(Path(options.name).parts[-2:])
        if label in labelled or label in taken:
            raise BadInput(
                f"{key}[{number}]: a row is called {label!r} already; give it another name: "
                f"{{name: {options.name}, label: NAME}}"
            )
        labelled[label] = options
    return labelled
