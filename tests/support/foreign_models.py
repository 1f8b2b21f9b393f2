"""Small retrievers from elsewhere, written by the libraries they come from."""

from pathlib import Path

import numpy as np
import torch
from transformers import BertConfig, BertForMaskedLM, BertModel, BertTokenizerFast

WORDS = [f"w{i}" for i in range(30)]
TOKENS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS]
POSITIONS, WIDTH = 24, 8


def write_bert(directory: Path, seed: int = 0, head: bool = False) -> Path:
    """A BERT-type checkpoint with its tokenizer."""
    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=len(TOKENS), hidden_size=WIDTH, num_hidden_layers=1, num_attention_heads=2, intermediate_size=16,
        initializer_range=0.5, max_position_embeddings=POSITIONS,
    )  # fmt: skip
    (BertForMaskedLM(config) if head else BertModel(config)).save_pretrained(directory)
    BertTokenizerFast(vocab={token: i for i, token in enumerate(TOKENS)}).save_pretrained(directory)
    return directory


def texts(count: int, seed: int) -> list[str]:
    draw = np.random.default_rng(seed)
    return [" ".join(draw.choice(WORDS, int(draw.integers(1, 20)))) for _ in range(count)]


def write_sentence_transformer(directory: Path, bert: Path, head: str, **options):
    """A directory of sentence-transformers over a checkpoint of `write_bert`, and what the library loads of it."""
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Dense, Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    torch.manual_seed(4)
    width = WIDTH
    made = {
        "cls": [Pooling(width, "cls")],
        "mean normalised": [Pooling(width, "mean"), Normalize()],
        "projected": [Pooling(width, "cls"), Dense(width, 5, bias=False, activation_function=torch.nn.Identity())],
        "max": [Pooling(width, "max")],
        "tanh": [Pooling(width, "cls"), Dense(width, 5)],
    }[head]
    model = SentenceTransformer(modules=[Transformer(str(bert), max_seq_length=9), *made], **options)
    model.save(str(directory))
    return SentenceTransformer(str(directory))
