"""The retriever: an encoder, or one for queries and one for passages, turns texts into vectors; a score is their inner
product. With `cos` vectors have length 1, at training and afterwards, so that one inner-product index serves both."""

import copy
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from bmae_lightning.encoder.batch import Tokens
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.pretrained import load_masked_lm
from bmae_lightning.encoder.tokenizer import load_tokenizer
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.retrieval.representation.hybrid import HybridRepresentation
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.retrieval.representation.vectors import Vectors
from bmae_lightning.retrieval.retriever_config import FILE, RetrieverConfig, check_similarity
from bmae_lightning.runtime.configuration import build, locate
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import replacing

PASSAGE, REPRESENTATION = "passage", "representation.safetensors"


class DualEncoder(nn.Module):
    """Turns token ids into vectors.

    The head of the masked language model is trained where the representation has a lexical part that reads it;
    otherwise it is kept but neither used nor trained.

    Args:
        encoder: of queries, and of passages where shared.
        representation: of its states; its parameters are made here and serve queries and passages.
        similarity: `dot` or `cos`.
        shared: False gives passages a copy of the encoder, the same to begin with.
        segments: give token type 1 to what follows an inner [SEP], the text behind a title (SimLM), else all are 0.
    """

    def __init__(
        self, encoder: Encoder, representation: PooledRepresentation, similarity: str, shared: bool = True,
        segments: bool = False,
    ) -> None:  # fmt: skip
        super().__init__()
        check_similarity(similarity, representation)
        self.encoder, self.representation, self.similarity = encoder, representation, similarity
        self.segments = segments
        representation.build(encoder)
        encoder.freeze_head(not (representation.lexical > 0 and representation.lexical_head == "mlm"))
        self.passage_encoder = None if shared else copy.deepcopy(encoder)

    @property
    def shared(self) -> bool:
        return self.passage_encoder is None

    @property
    def width(self) -> int:
        """Dimensions of the dense part."""
        return self.representation.width(self.encoder)

    def forward(self, tokens: Tokens, passages: bool) -> Vectors:
        """Vectors of B texts, which are passages or queries."""
        encoder = self.passage_encoder if passages and self.passage_encoder is not None else self.encoder
        return self._vectors(encoder, tokens, self._states(encoder, tokens), passages)

    def both(self, queries: Tokens, passages: Tokens) -> tuple[Vectors, Vectors]:
        """Vectors of queries and of passages, in one pass of the encoder where they share it and it packs them."""
        encoder = self.encoder
        if not (self.shared and encoder.packed and encoder.backbone.packs):
            return self(queries, passages=False), self(passages, passages=True)
        longest, count = max(queries.ids_BL.shape[1], passages.ids_BL.shape[1]), len(queries.ids_BL)
        joined = [
            torch.cat([nn.functional.pad(side, (0, longest - side.shape[1])) for side in sides])
            for sides in ((queries.ids_BL, passages.ids_BL), (queries.real_BL, passages.real_BL))
        ]
        hidden_BLD = self._states(encoder, Tokens(*joined))
        parts = (queries, hidden_BLD[:count], False), (passages, hidden_BLD[count:], True)
        one, other = (
            self._vectors(encoder, tokens, states[:, : tokens.ids_BL.shape[1]], side) for tokens, states, side in parts
        )
        return one, other

    def _states(self, encoder: Encoder, tokens: Tokens) -> Tensor:
        types_BL = tokens.segments(encoder.vocabulary.sep_id) if self.segments else None
        return encoder(tokens.ids_BL, tokens.real_BL, types_BL)

    def _vectors(self, encoder: Encoder, tokens: Tokens, hidden_BLD: Tensor, passages: bool) -> Vectors:
        vectors = self.representation(encoder, tokens, hidden_BLD, passages)
        if self.similarity == "cos":
            return Vectors(nn.functional.normalize(vectors.dense_BD, dim=-1))
        return vectors


def representation_of(config: RetrieverConfig) -> PooledRepresentation:
    """The representation that a record describes, without its parameters.

    Raises:
        BadInput: the record names a class that cannot be imported or is no representation; nothing else is called.
    """
    if config.representation is not None:
        target = config.representation["_target_"]
        kind = locate(target, "representation")
        if not (isinstance(kind, type) and issubclass(kind, PooledRepresentation)):
            raise BadInput(f"{FILE}: representation._target_={target} is no PooledRepresentation")
        return build(config.representation, "representation")
    if config.dense is None and not config.lexical:
        return PooledRepresentation(config.pooling)
    return HybridRepresentation(
        config.pooling, config.dense or 0, config.lexical, config.activation, config.separator, config.lexical_head
    )


def load_dual_encoder(
    directory: Path, dropout: float | None = None, packed: bool = True
) -> tuple[DualEncoder, RetrieverConfig]:
    """A fine-tuned retriever in evaluation mode and its record.

    dropout: hidden and attention dropout for training it further; None keeps the checkpoint's.  packed: see `Encoder`.

    Raises:
        BadInput: `directory` holds no retriever of ours, or not all of it.
    """
    config = RetrieverConfig.load(directory)
    if config is None or config.similarity is None:
        raise BadInput(f"{directory}: no retriever (retriever_spec.json with a similarity is missing)")
    vocabulary = Vocabulary(load_tokenizer(directory))
    masked_lm, _ = load_masked_lm(str(directory), vocabulary.size, dropout, str(directory))
    encoder, representation = Encoder(masked_lm, vocabulary, packed), representation_of(config)
    model = DualEncoder(encoder, representation, config.similarity, config.shared, config.segments)
    if model.passage_encoder is not None:
        path = directory / PASSAGE
        masked_lm, _ = load_masked_lm(str(path), vocabulary.size, dropout, str(path))
        model.passage_encoder.masked_lm.load_state_dict(masked_lm.state_dict())
    if model.representation.state_dict():
        path = directory / REPRESENTATION
        try:
            model.representation.load_state_dict(load_file(path))
        except (OSError, RuntimeError) as error:
            raise BadInput(
                f"{path}: cannot be read as the parameters that retriever_spec.json speaks of "
                f"({str(error).splitlines()[0]}); fine-tune again"
            ) from error
    return model.eval(), config


def save_dual_encoder(model: DualEncoder, config: RetrieverConfig, tokenizer_directory: Path, directory: Path) -> None:
    """Write a Hugging Face checkpoint (safetensors) with tokenizer and record.

    A passage encoder of its own is a checkpoint in `passage/`, parameters of the representation are in
    `representation.safetensors`.
    """
    tokenizer = load_tokenizer(tokenizer_directory)
    with replacing(directory) as made:
        model.encoder.masked_lm.save_pretrained(made)
        tokenizer.save_pretrained(made)
        if model.passage_encoder is not None:
            model.passage_encoder.masked_lm.save_pretrained(made / PASSAGE)
            tokenizer.save_pretrained(made / PASSAGE)
        if state := model.representation.state_dict():
            save_file({name: tensor.contiguous() for name, tensor in state.items()}, made / REPRESENTATION)
        config.save(made)
