"""How the retriever in a directory makes vectors: what its files say, without reading any weights.

Layouts: a retriever of ours, as trained or as exported; a sentence-transformers directory (modules.json); a
checkpoint without any record, where pooling and similarity must be known. Shapes: D width.
"""

import importlib.util
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bmae_lightning.corpus.tokens.wordpiece import tokenizer_digest
from bmae_lightning.encoder.backbone.backbone import known_family, limit_of
from bmae_lightning.encoder.checkpoint import read_config
from bmae_lightning.encoder.pretrained import load_config
from bmae_lightning.encoder.tokenizer import load_tokenizer
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.retrieval.export import PASSAGE, QUERY, SIMILARITY_NAMES
from bmae_lightning.retrieval.model_options import ModelOptions
from bmae_lightning.retrieval.retriever_config import RetrieverConfig
from bmae_lightning.runtime.errors import BadInput

DOCUMENT_PROMPTS = ("document", "passage", "corpus")
"""Names that the prompt of passages goes by; the first that is not empty counts."""
LENGTHS = ("max_seq_length", "query_length", "document_length")
USUAL = {
    "do_lower_case": False, "transformer_task": "feature-extraction", "module_output_name": "token_embeddings",
    "modality_config": {"text": {"method": "forward", "method_output_name": "last_hidden_state"}},
}  # fmt: skip
"""What else sentence_bert_config.json says of an encoder whose last states are pooled."""
SHAPES = [["Transformer", "Pooling", *rest] for rest in ([], ["Normalize"], ["Dense"], ["Dense", "Normalize"])]
"""Modules that our own code runs."""
LIBRARY = "sentence_transformers"


@dataclass(frozen=True)
class Layout:
    """What is known of a retriever before its weights are read.

    Attributes:
        directory: of the model.
        config: how texts become vectors; lengths are always given.
        encoders: checkpoints of the encoder, or of that of queries and that of passages; none where `library`.
        dense: file of the linear map behind the pooling, for each encoder, None for none.
        recorded: a retriever as this package saves it, which `load_dual_encoder` reads.
        library: it takes the library sentence-transformers to make its vectors.
    """

    directory: Path
    config: RetrieverConfig
    encoders: tuple[Path, ...] = ()
    dense: tuple[Path | None, ...] = ()
    recorded: bool = False
    library: bool = False


def read_layout(directory: Path, options: ModelOptions, key: str) -> Layout:
    """Recognise the layout of `directory`.

    Args:
        key: configuration key of the model, for messages.

    Raises:
        BadInput: no layout that is known, or one that contradicts the options.
    """
    config = RetrieverConfig.load(directory)
    if (directory / "modules.json").is_file():
        layout = _modules(directory, options, key)
    elif config is not None and (directory / QUERY / "modules.json").is_file():
        layout = _pair(directory, config, options, key)
    elif config is not None and config.similarity is not None:
        layout = Layout(directory, config, (directory,), recorded=True)
    else:
        layout = _checkpoint(directory, config, options, key)
    return replace(layout, config=_with_options(layout, options, key))


def _checkpoint(directory: Path, config: RetrieverConfig | None, options: ModelOptions, key: str) -> Layout:
    """A checkpoint that was not saved as a retriever: [CLS] and inner product unless the options differ."""
    limit = limit_of(load_config(str(directory), key))
    tokenizer = load_tokenizer(directory)
    Vocabulary(tokenizer)
    pooling = config.pooling if config is not None else options.pooling or "cls"
    config = RetrieverConfig(pooling, tokenizer_digest(tokenizer), options.similarity or "dot", limit, limit)
    return Layout(directory, config, (directory,), (None,))


def _pair(directory: Path, config: RetrieverConfig, options: ModelOptions, key: str) -> Layout:
    """Our export of separate encoders: two directories of sentence-transformers."""
    queries, passages = (_modules(directory / part, options, key) for part in (QUERY, PASSAGE))
    return Layout(directory, config, queries.encoders + passages.encoders, queries.dense + passages.dense)


def _modules(directory: Path, options: ModelOptions, key: str) -> Layout:
    """A sentence-transformers directory; only encoder, pooling, linear map and length 1 do without the library."""
    modules = {}
    for number, module in enumerate(_read(directory / "modules.json", key)):
        kind = str(module.get("type", "")).rpartition(".")[2]
        modules[kind if kind not in modules else f"{kind} {number}"] = directory / str(module.get("path", ""))
    settings = _read(directory / "config_sentence_transformers.json", key, {})
    lengths = _read(directory / "sentence_bert_config.json", key, {})
    similarity = "cos" if "Normalize" in modules else _similarity(settings, directory, options, key)
    prompts = settings.get("prompts") or {}
    prefixes = {
        "query_prefix": prompts.get("query") or "",
        "passage_prefix": next((prompts[name] for name in DOCUMENT_PROMPTS if prompts.get(name)), ""),
    }
    head = _head(modules, lengths, key)
    if head is None:
        if importlib.util.find_spec(LIBRARY) is None:
            raise BadInput(
                f"{key}: {directory} is more than a known encoder with pooling ({', '.join(modules)}), which needs "
                "the library sentence-transformers: pip install 'bmae_lightning[external]'"
            )
        return Layout(directory, RetrieverConfig("library", "", similarity, **prefixes), library=True)
    (pooling, dense, width), encoder = head, modules["Transformer"]
    tokenizer = load_tokenizer(encoder)
    longest = min(limit_of(load_config(str(encoder), key)), tokenizer.model_max_length)
    longest = lengths.get("max_seq_length") or longest
    own = RetrieverConfig.load(directory)  # of our export
    config = RetrieverConfig(
        pooling, tokenizer_digest(tokenizer), similarity, lengths.get("query_length") or longest,
        lengths.get("document_length") or longest, dense=width, segments=own is not None and own.segments,
        **prefixes,
    )  # fmt: skip
    return Layout(directory, config, (encoder,), (dense,))


def _head(
    modules: Mapping[str, Path], lengths: Mapping[str, Any], key: str
) -> tuple[str, Path | None, int | None] | None:
    """What comes behind the encoder: the pooling, the file of a linear map and its width, None for no linear map.

    None for a model that our own code cannot run.
    """
    if list(modules) not in SHAPES or any(
        value != USUAL.get(name) for name, value in lengths.items() if name not in LENGTHS
    ):
        return None
    if known_family(read_config(modules["Transformer"], key)) is None:
        return None
    try:
        Vocabulary(load_tokenizer(modules["Transformer"]))
    except BadInput:  # of word pieces that are not known
        return None
    pooling = _pooling(_read(modules["Pooling"] / "config.json", key))
    if pooling is None:
        return None
    if "Dense" not in modules:
        return pooling, None, None
    linear, file = _read(modules["Dense"] / "config.json", key), modules["Dense"] / "model.safetensors"
    activation = str(linear.get("activation_function", "")).rpartition(".")[2]
    if activation != "Identity" or linear.get("bias", True) or linear.get("use_residual") or not file.is_file():
        return None
    return pooling, file, int(linear["out_features"])


def _pooling(config: Mapping[str, Any]) -> str | None:
    """`cls` or `mean`; None for any other mode, and for several."""
    modes = {"pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean"}
    chosen = [name for name, on in config.items() if name.startswith("pooling_mode_") and on]
    mode = config.get("pooling_mode") or (modes.get(chosen[0]) if len(chosen) == 1 else None)
    return mode if mode in modes.values() and config.get("include_prompt", True) else None


def _similarity(settings: dict[str, Any], directory: Path, options: ModelOptions, key: str) -> str:
    """What the directory says, else the options; without either cosine, as in the library."""
    name = settings.get("similarity_fn_name")
    if name is None:
        return options.similarity or "cos"
    for ours, theirs in SIMILARITY_NAMES.items():
        if name == theirs:
            return ours
    raise BadInput(f"{key}: {directory} compares by {name!r}; only cosine and inner product can be searched for")


def _read(path: Path, key: str, default: Any = None) -> Any:
    if default is not None and not path.is_file():
        return default
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(
            f"{key}: {path} cannot be read ({str(error).splitlines()[0]}); download the model again"
        ) from error


def _with_options(layout: Layout, options: ModelOptions, key: str) -> RetrieverConfig:
    """The record, with lengths and prefixes of the options; what a model was trained for cannot be changed."""
    config = layout.config
    for name in ("pooling", "similarity", *(["segments"] if layout.recorded else [])):
        wanted, found = getattr(options, name), getattr(config, name)
        if wanted is not None and wanted != found:
            raise BadInput(f"{key}: {layout.directory} makes vectors by {name}={found}, not {wanted}; leave {name} out")
    changes = {
        name: getattr(options, name)
        for name in ("query_length", "passage_length", "query_prefix", "passage_prefix", "segments")
        if getattr(options, name) is not None
    }
    if not layout.library:
        limit = limit_of(load_config(str(layout.encoders[0]), key))
        for name in ("query_length", "passage_length"):
            length = changes.get(name) or getattr(config, name)
            if not 3 <= length <= limit:
                raise BadInput(f"{key}: {name}={length} must be from 3 to the {limit} positions of {layout.directory}")
    return replace(config, **changes)
