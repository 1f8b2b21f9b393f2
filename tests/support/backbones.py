"""Small backbones of re-rankers with tokenizers of the kinds that are published: WordPiece, Unigram, byte pairs."""

import json
from collections.abc import Iterable
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer, Tokenizer
from tokenizers.models import Unigram
from tokenizers.pre_tokenizers import Metaspace
from tokenizers.trainers import UnigramTrainer
from transformers import (
    BertTokenizer,
    DebertaV2Config,
    DebertaV2Model,
    DebertaV2Tokenizer,
    RobertaConfig,
    RobertaModel,
    RobertaTokenizer,
)

SIZES = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32,
    "initializer_range": 0.5,
}  # fmt: skip
MARKS = ["[PAD]", "[CLS]", "[SEP]", "[UNK]"]


def bert_tokenizer(texts: Iterable[str]) -> BertTokenizer:
    words = sorted({word for text in texts for word in text.lower().split()})
    return BertTokenizer(vocab={token: i for i, token in enumerate([*MARKS, "[MASK]", *words])})


def deberta_tokenizer(texts: Iterable[str]) -> DebertaV2Tokenizer:
    """As of DeBERTa-v3: SentencePiece's Unigram pieces."""
    trained = Tokenizer(Unigram())
    trained.pre_tokenizer = Metaspace()
    trained.train_from_iterator(texts, UnigramTrainer(vocab_size=200, special_tokens=MARKS, unk_token="[UNK]"))
    scores = {piece: trained.token_to_id(piece) for piece in trained.get_vocab()}
    pieces = sorted((piece for piece in scores if piece not in MARKS), key=scores.get)
    vocabulary = [(mark, 0.0) for mark in MARKS] + [(piece, -2.0 - 0.01 * i) for i, piece in enumerate(pieces)]
    return DebertaV2Tokenizer(vocab=vocabulary, unk_id=3)


def roberta_tokenizer(texts: Iterable[str]) -> RobertaTokenizer:
    """Byte pairs, two separators between the parts of a pair."""
    trained = ByteLevelBPETokenizer()
    trained.train_from_iterator(texts, vocab_size=400, special_tokens=["<s>", "<pad>", "</s>", "<unk>", "<mask>"])
    merges = json.loads(trained.to_str())["model"]["merges"]
    return RobertaTokenizer(vocab=trained.get_vocab(), merges=[tuple(merge) for merge in merges])


TOKENIZERS = {"bert": bert_tokenizer, "deberta": deberta_tokenizer, "roberta": roberta_tokenizer}


def write_backbone(kind: str, directory: Path, texts: Iterable[str], positions: int = 128) -> Path:
    """A checkpoint of kind deberta or roberta, without a classification head."""
    torch.manual_seed(0)
    tokenizer = TOKENIZERS[kind](texts)
    if kind == "deberta":
        config = DebertaV2Config(
            **SIZES, vocab_size=len(tokenizer), type_vocab_size=0, relative_attention=True,
            pos_att_type=["c2p", "p2c"], max_position_embeddings=positions, pooler_hidden_size=16,
        )  # fmt: skip
        model = DebertaV2Model(config)
    else:
        config = RobertaConfig(
            **SIZES, vocab_size=len(tokenizer), pad_token_id=tokenizer.pad_token_id, type_vocab_size=1,
            max_position_embeddings=positions + tokenizer.pad_token_id + 1,
        )  # fmt: skip
        model = RobertaModel(config)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory
