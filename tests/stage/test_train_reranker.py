"""What a re-ranker can start from is looked at before anything runs."""

import pytest
from support.stages import composed_stage
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast, PreTrainedTokenizerFast

from bmae_lightning.runtime.errors import BadInput

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def stage(*overrides):
    return composed_stage("reranker", *overrides)


def checkpoint(directory, words):
    directory.mkdir()
    (directory / "vocab.txt").write_text("\n".join([*SPECIAL, *words]) + "\n")
    tokenizer = BertTokenizerFast(str(directory / "vocab.txt"))
    tokenizer.save_pretrained(directory)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(directory)
    return tokenizer


def test_a_backbone_must_join_pairs_as_re_rankers_do(tmp_path):
    checkpoint(tmp_path / "other", ["a", "c", "b", "d"])
    stage(f"reranker.backbone={tmp_path / 'other'}").preflight(["train"])  # its own word pieces are no obstacle
    plain = Tokenizer(WordLevel({"a": 0, "b": 1, "c": 2, "[UNK]": 3, "</s>": 4}, unk_token="[UNK]"))
    PreTrainedTokenizerFast(tokenizer_object=plain, eos_token="</s>").save_pretrained(tmp_path / "other")
    with pytest.raises(
        BadInput, match=r"reranker.backbone=.*other: its tokenizer writes a pair as 'a b'; a re-ranker needs"
    ):
        stage(f"reranker.backbone={tmp_path / 'other'}").preflight(["train"])


def test_lengths_and_two_beginnings(tmp_path):
    with pytest.raises(BadInput, match="reranker.length=200: the encoder has only 128 positions"):
        stage("reranker.length=200").preflight(["train"])
    checkpoint(tmp_path / "other", ["a"])
    with pytest.raises(BadInput, match=r"reranker.length=513: .*other has only 512 positions"):
        stage("reranker.length=513", f"reranker.backbone={tmp_path / 'other'}").preflight(["train"])
    with pytest.raises(BadInput, match="reranker.inputs.encoder are both given"):
        stage("reranker.backbone=x").check_inputs({"encoder": "pretrain", "ranking": "evaluate2"})
