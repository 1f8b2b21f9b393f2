"""Small untrained retrievers and what they make of texts, one text at a time."""

from pathlib import Path

import torch
from transformers import BertConfig, BertForMaskedLM

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.retrieval.dual_encoder import DualEncoder, save_dual_encoder
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.retrieval.representation.vectors import Vectors
from bmae_lightning.retrieval.retriever_config import RetrieverConfig
from bmae_lightning.stage.prepared import Prepared

TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(60))]


def dual_encoder(
    representation: PooledRepresentation, similarity: str = "dot", shared: bool = True,
    vocabulary: Vocabulary | None = None,
) -> DualEncoder:  # fmt: skip
    """A retriever of width 16 in evaluation mode, over `TOKENS` if no other vocabulary is given."""
    vocabulary = vocabulary or Vocabulary.from_tokens(TOKENS)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=vocabulary.size, hidden_size=16, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32,
        initializer_range=0.3,
    )  # fmt: skip
    return DualEncoder(Encoder(BertForMaskedLM(config), vocabulary), representation, similarity, shared).eval()


def save_retriever(
    prepared: Prepared, representation: PooledRepresentation, directory: Path, query_length: int = 12,
    passage_length: int = 24,
) -> DualEncoder:  # fmt: skip
    """A retriever over a prepared corpus as a fine-tuning stage leaves it in `directory`."""
    model = dual_encoder(representation, vocabulary=Vocabulary(prepared.tokenizer()))
    config = RetrieverConfig(
        tokenizer=prepared.passages().tokenizer_digest, similarity="dot", query_length=query_length,
        passage_length=passage_length, **representation.record(),
    )  # fmt: skip
    save_dual_encoder(model, config, prepared.tokenizer_directory, directory / "retriever")
    return model


def one_by_one(model: DualEncoder, store: TokenStore, length: int, passages: bool = True) -> Vectors:
    """The vectors of a store, every text encoded alone."""
    pad = model.encoder.vocabulary.pad
    with torch.inference_mode():
        return Vectors.cat([model(pad([store[row]], length), passages=passages) for row in range(len(store))])


def scored_alone(model: DualEncoder, queries: TokenStore, passages: TokenStore, lengths: tuple[int, int]) -> list[list]:
    """The score of every passage for every query, every pair by itself.

    Args:
        lengths: of queries and of passages.
    """
    left, right = one_by_one(model, queries, lengths[0], False), one_by_one(model, passages, lengths[1])
    scores = left.dense_BD @ right.dense_BD.T
    if left.lexical is not None:
        scores = scores + left.lexical @ right.lexical.full().T
    return scores.tolist()
