"""The weights that a stage starts from: the encoder of the configuration, or what an earlier stage made of it."""

from collections.abc import Mapping
from typing import Any

from bmae_lightning.encoder.checkpoint import shape_of
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.pretrained import PretrainedEncoder, load_masked_lm
from bmae_lightning.encoder.scratch import ScratchEncoder
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.retrieval.dual_encoder import DualEncoder, load_dual_encoder
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.retrieval.retriever_config import RetrieverConfig
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.cost import Shape
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import read_json
from bmae_lightning.runtime.snapshots import check_kept, snapshot
from bmae_lightning.runtime.stage import Context

EncoderSource = PretrainedEncoder | ScratchEncoder


def network_of(options: Mapping[str, Any]) -> Shape:
    """The shape of what a fine-tuning stage with these options trains, for estimates."""
    return shape_of(options.get("backbone") or build(options["encoder"], "encoder"))


def start_encoder(
    context: Context, source: EncoderSource, vocabulary: Vocabulary, tokenizer: str, pooling: str | None = None
) -> Encoder:
    """The pre-trained encoder of this arm (`inputs.encoder`), or the encoder as it was before.

    tokenizer: digest of the prepared vocabulary.  pooling: what the stage will read of the states, None for anything.

    Raises:
        BadInput: a checkpoint without record, or one trained with another pooling or tokenizer.
    """
    if context.inputs.get("encoder") is None:
        masked_lm, _ = source.masked_lm(vocabulary.size)
        return Encoder(masked_lm, vocabulary)
    directory = snapshot(context.input("encoder"), context.pretrain_step)
    found = RetrieverConfig.load(directory)
    if found is None and context.pretrain_step is not None:
        options = read_json(context.input("encoder") / "manifest.json")["config"]
        check_kept(context.pretrain_step, options, context.input("encoder"), done=True)
    if found is None:
        raise BadInput(f"{directory}: retriever_spec.json is missing; run the pretrain stage again")
    wanted = {"tokenizer": tokenizer} if pooling is None else {"pooling": pooling, "tokenizer": tokenizer}
    found.require(directory, {"pooling": "representation"}, **wanted)
    masked_lm, _ = load_masked_lm(str(directory), vocabulary.size, source.dropout, str(directory))
    return Encoder(masked_lm, vocabulary)


def start_retriever(
    context: Context, source: EncoderSource, vocabulary: Vocabulary, representation: PooledRepresentation,
    config: RetrieverConfig,
) -> DualEncoder:  # fmt: skip
    """The retriever to train: that of an earlier rung (`inputs.retriever`), otherwise a new one over `start_encoder`.

    Raises:
        BadInput: the earlier retriever represents or scores texts otherwise than this stage.
    """
    if context.inputs.get("retriever") is None:
        encoder = start_encoder(context, source, vocabulary, config.tokenizer, config.pooling)
        return DualEncoder(encoder, representation, config.similarity, config.shared, config.segments)
    directory = context.input("retriever") / "retriever"
    model, found = load_dual_encoder(directory, source.dropout)
    names = ("tokenizer", "similarity", "shared", "segments", "pooling", "dense", "lexical", "activation", "separator",
             "representation")  # fmt: skip
    for name in names:
        if getattr(found, name) != getattr(config, name):
            raise BadInput(
                f"{context.stage}: it continues the retriever in {directory}, whose {name} is "
                f"{getattr(found, name)!r}, but this stage has {name}={getattr(config, name)!r}; use the same "
                "for both, or inputs.retriever=null"
            )
    return model
