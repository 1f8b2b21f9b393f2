"""The weights that a stage starts from: the encoder of the configuration, or what an earlier stage made of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bmae_lightning.encoder.checkpoint import find_checkpoint, shape_of
from bmae_lightning.encoder.pretrained import PretrainedEncoder, load_masked_lm
from bmae_lightning.encoder.scratch import ScratchEncoder
from bmae_lightning.retrieval.retriever_config import RetrieverConfig
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.cost import Shape
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import read_json
from bmae_lightning.runtime.process import print_once
from bmae_lightning.runtime.snapshots import check_kept, snapshot
from bmae_lightning.runtime.stage import Context
from bmae_lightning.stage.prepared import Prepared

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from bmae_lightning.encoder.model import Encoder
    from bmae_lightning.encoder.vocabulary import Vocabulary
    from bmae_lightning.retrieval.dual_encoder import DualEncoder
    from bmae_lightning.retrieval.representation.pooled import PooledRepresentation

EncoderSource = PretrainedEncoder | ScratchEncoder


def network_of(options: Mapping[str, Any]) -> Shape:
    """The shape of what a fine-tuning stage with these options trains, for estimates."""
    return shape_of(options.get("backbone") or build(options["encoder"], "encoder"))


def start_masked_lm(
    context: Context, source: EncoderSource, vocabulary: Vocabulary, tokenizer: str, pooling: str | None = None,
    checkpoint: str | None = None,
) -> tuple[PreTrainedModel, list[str]]:  # fmt: skip
    """The weights of the pre-training before (`inputs.encoder`), otherwise of the checkpoint, otherwise of `source`.

    Args:
        tokenizer: digest of the prepared vocabulary.
        pooling: what the stage will read of the states, None for anything.
        checkpoint: directory or hub name; a record that lies in it must fit.

    Returns the model, and the parameters that the checkpoint lacks and that are new.

    Raises:
        BadInput: an earlier stage left no record, or the record tells of another pooling or tokenizer.
    """
    earlier = context.inputs.get("encoder")
    if earlier is None and checkpoint is None:
        return source.masked_lm(vocabulary.size, vocabulary.pad_id)
    directory = snapshot(earlier, context.pretrain_step) if earlier else find_checkpoint(str(checkpoint))
    found = RetrieverConfig.load(directory)
    if found is None and earlier and context.pretrain_step is not None:
        check_kept(context.pretrain_step, read_json(earlier / "manifest.json")["config"], earlier, done=True)
    if found is None and earlier:
        raise BadInput(f"{directory}: retriever_spec.json is missing; run the pretrain stage again")
    if found is not None:
        wanted = {"tokenizer": tokenizer} if pooling is None else {"pooling": pooling, "tokenizer": tokenizer}
        found.require(directory, {"pooling": "representation"}, **wanted)
    return load_masked_lm(str(directory), vocabulary.size, source.dropout, str(directory), source.family)


def start_encoder(
    context: Context, source: EncoderSource, vocabulary: Vocabulary, tokenizer: str, pooling: str | None = None
) -> Encoder:
    """The pre-trained encoder of this arm, or the encoder as it was before; see `start_masked_lm`."""
    from bmae_lightning.encoder.model import Encoder

    masked_lm, _ = start_masked_lm(context, source, vocabulary, tokenizer, pooling)
    return Encoder(masked_lm, vocabulary, source.packed)


def tell_lacks(context: Context, prepared: Prepared, encoder: Encoder, segments: bool) -> None:
    """Say where padding is computed, and where title and text have no token types of their own, but should."""
    begin = f"{context.title}: an encoder of type {encoder.config.model_type!r}"
    if encoder.packed and not encoder.backbone.packs:
        print_once(f"{begin} computes padding too: its attention cannot read packed texts")
    if segments and prepared.record["title"] == "pair" and not encoder.backbone.typed:
        print_once(f"{begin} has no token types: [SEP] alone stands between title and text")


def start_retriever(
    context: Context, source: EncoderSource, vocabulary: Vocabulary, representation: PooledRepresentation,
    config: RetrieverConfig,
) -> DualEncoder:  # fmt: skip
    """The retriever to train: that of an earlier rung (`inputs.retriever`), otherwise a new one over `start_encoder`.

    Raises:
        BadInput: the earlier retriever represents or scores texts otherwise than this stage.
    """
    from bmae_lightning.retrieval.dual_encoder import DualEncoder, load_dual_encoder

    if context.inputs.get("retriever") is None:
        encoder = start_encoder(context, source, vocabulary, config.tokenizer, config.pooling)
        return DualEncoder(encoder, representation, config.similarity, config.shared, config.segments)
    directory = context.input("retriever") / "retriever"
    model, found = load_dual_encoder(directory, source.dropout, source.packed)
    names = ("tokenizer", "similarity", "shared", "segments", "pooling", "dense", "lexical", "activation", "separator",
             "lexical_head", "representation")  # fmt: skip
    for name in names:
        if getattr(found, name) != getattr(config, name):
            raise BadInput(
                f"{context.stage}: it continues the retriever in {directory}, whose {name} is "
                f"{getattr(found, name)!r}, but this stage has {name}={getattr(config, name)!r}; use the same "
                "for both, or inputs.retriever=null"
            )
    return model
