"""The retriever: one shared encoder turns queries and passages into vectors; a score is their inner product.

With `cos` vectors have length 1, at training and afterwards, so that one inner-product index serves both similarities.
"""

from pathlib import Path

import torch
from torch import nn

from bmae_lightning.batch import Tokens
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.pretrained import load_masked_lm
from bmae_lightning.encoder.tokenizer import load_tokenizer
from bmae_lightning.errors import BadInput
from bmae_lightning.representation.pooled import PooledRepresentation
from bmae_lightning.spec import RetrieverSpec
from bmae_lightning.vocabulary import Vocabulary

SIMILARITIES = ("dot", "cos")


class DualEncoder(nn.Module):
    """Turns token ids into vectors; the head of the masked language model is kept but neither used nor trained.

    Args:
    encoder: shared by queries and passages.
    representation: pools its states.
    similarity: `dot` or `cos`.
    """

    def __init__(self, encoder: Encoder, representation: PooledRepresentation, similarity: str) -> None:
        super().__init__()
        if similarity not in SIMILARITIES:
            raise ValueError(f"similarity must be one of {', '.join(SIMILARITIES)}, got {similarity!r}")
        self.encoder, self.representation, self.similarity = encoder, representation, similarity
        embedding = encoder.masked_lm.bert.embeddings.word_embeddings.weight
        for parameter in encoder.masked_lm.cls.parameters():
            parameter.requires_grad_(parameter is embedding)

    def forward(self, tokens: Tokens) -> torch.Tensor:
        """Vectors [B, D] of texts."""
        vectors_BD = self.representation(self.encoder(tokens.ids_BL, tokens.real_BL), tokens.real_BL)
        return nn.functional.normalize(vectors_BD, dim=-1) if self.similarity == "cos" else vectors_BD


def load_dual_encoder(directory: Path) -> tuple[DualEncoder, RetrieverSpec]:
    """A fine-tuned retriever in evaluation mode and its record.

    Raises:
        BadInput: `directory` holds no retriever of ours.
    """
    spec = RetrieverSpec.load(directory)
    if spec is None or spec.similarity is None:
        raise BadInput(f"{directory}: no retriever (retriever_spec.json with a similarity is missing)")
    vocabulary = Vocabulary(load_tokenizer(directory))
    masked_lm, _ = load_masked_lm(str(directory), vocabulary.size, None, str(directory))
    model = DualEncoder(Encoder(masked_lm, vocabulary), PooledRepresentation(spec.pooling), spec.similarity)
    return model.eval(), spec


def save_dual_encoder(model: DualEncoder, spec: RetrieverSpec, tokenizer_directory: Path, directory: Path) -> None:
    """Write a Hugging Face checkpoint (safetensors) with tokenizer and record."""
    model.encoder.masked_lm.save_pretrained(directory)
    load_tokenizer(tokenizer_directory).save_pretrained(directory)
    spec.save(directory)
