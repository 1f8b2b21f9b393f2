"""A retriever as other programs load it: a directory for transformers' AutoModel and for sentence-transformers.

What a vector is beyond the encoder's states (pooling, linear map, length 1, lengths of texts, prefixes) is written down
in sentence-transformers' JSON files, in the layout that its versions have shared since 2.0.
"""

from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import nn

from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.tokenizer import load_tokenizer
from bmae_lightning.retrieval.dual_encoder import DualEncoder, save_dual_encoder
from bmae_lightning.retrieval.representation.hybrid import HybridRepresentation
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.retrieval.retriever_config import RetrieverConfig
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import write_json

MODULES = "sentence_transformers.models."
SIMILARITY_NAMES = {"dot": "dot", "cos": "cosine"}
QUERY, PASSAGE = "query", "passage"


def save_portable(model: DualEncoder, config: RetrieverConfig, tokenizer_directory: Path, directory: Path) -> list[str]:
    """Write `directory` (safetensors only) and return the sub-directories that sentence-transformers loads.

    ["."] for one encoder, ["query", "passage"] for two, [] for a representation with a lexical part, of which
    sentence-transformers knows no module: it becomes the masked language model as transformers loads it, with the
    parameters of the dense part in `representation.safetensors` and a record of the rest.

    Raises:
        BadInput: the representation is none of the package's, so that no other program could compute it.
    """
    if type(model.representation) not in (PooledRepresentation, HybridRepresentation):
        raise BadInput(
            f"export: other programs do not know the representation {type(model.representation).__name__}; load the "
            "retriever with bmae_lightning.retrieval.dual_encoder.load_dual_encoder"
        )
    if config.lexical:
        save_dual_encoder(model, config, tokenizer_directory, directory)
        return []
    if model.passage_encoder is None:
        _save(model, model.encoder, config, tokenizer_directory, directory, config.passage_length)
        return ["."]
    _save(model, model.encoder, config, tokenizer_directory, directory / QUERY, config.query_length)
    _save(model, model.passage_encoder, config, tokenizer_directory, directory / PASSAGE, config.passage_length)
    config.save(directory)
    return [QUERY, PASSAGE]


def _save(
    model: DualEncoder, encoder: Encoder, config: RetrieverConfig, tokenizer_directory: Path, directory: Path,
    length: int,
) -> None:  # fmt: skip
    encoder.backbone.base.save_pretrained(directory)
    tokenizer = load_tokenizer(tokenizer_directory)
    tokenizer.model_max_length = length
    tokenizer.save_pretrained(directory)
    config.save(directory)
    lengths = {"query_length": config.query_length} if model.shared and config.query_length != length else {}
    write_json(directory / "sentence_bert_config.json", {"max_seq_length": length, "do_lower_case": False} | lengths)
    pooling: dict[str, Any] = {"word_embedding_dimension": encoder.width}
    for name, mode in {"cls": "cls_token", "mean": "mean_tokens", "max": "max_tokens"}.items():
        pooling[f"pooling_mode_{mode}"] = name == config.pooling
    modules: list[tuple[str, dict[str, Any], nn.Module | None]] = [("Pooling", pooling, None)]
    if (projection := getattr(model.representation, "projection", None)) is not None:
        shape = {"in_features": projection.in_features, "out_features": projection.out_features, "bias": False}
        modules.append(("Dense", shape | {"activation_function": "torch.nn.modules.linear.Identity"}, projection))
    if config.similarity == "cos":
        modules.append(("Normalize", {}, None))
    listed = [{"idx": 0, "name": "0", "path": "", "type": f"{MODULES}Transformer"}]
    for number, (name, options, module) in enumerate(modules, 1):
        path = directory / f"{number}_{name}"
        path.mkdir()
        write_json(path / "config.json", options)
        if module is not None:
            state = {f"linear.{key}": tensor.contiguous() for key, tensor in module.state_dict().items()}
            save_file(state, path / "model.safetensors")
        listed.append({"idx": number, "name": str(number), "path": path.name, "type": MODULES + name})
    write_json(directory / "modules.json", listed)
    settings = {
        "prompts": {"query": config.query_prefix, "document": config.passage_prefix},
        "default_prompt_name": None,
        "similarity_fn_name": SIMILARITY_NAMES[config.similarity],
    }
    write_json(directory / "config_sentence_transformers.json", settings)
