"""What a re-ranker can start from is looked at before anything runs."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

from bmae_lightning.configuration import build
from bmae_lightning.cross_encoder import check_same_vocabulary
from bmae_lightning.errors import BadInput

CONF = Path(__file__).parents[2] / "conf"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]


def stage(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("config", overrides=["encoder=tiny", "logger=none", *overrides])
    node = OmegaConf.to_container(config, resolve=True)["reranker"]
    made = build({key: value for key, value in node.items() if key not in ("inputs", "on_demand")}, "reranker")
    made.name = "reranker"
    return made


def checkpoint(directory, words):
    directory.mkdir()
    (directory / "vocab.txt").write_text("\n".join([*SPECIAL, *words]) + "\n")
    tokenizer = BertTokenizerFast(str(directory / "vocab.txt"))
    tokenizer.save_pretrained(directory)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    BertForSequenceClassification(BertConfig(vocab_size=len(tokenizer), **sizes)).save_pretrained(directory)
    return tokenizer


def test_another_vocabulary_is_refused_before_anything_runs(tmp_path):
    own = checkpoint(tmp_path / "own", ["a", "b", "c"])
    checkpoint(tmp_path / "other", ["a", "c", "b", "d"])
    check_same_vocabulary(tmp_path / "own", own, "x")
    with pytest.raises(
        BadInput, match="reranker.backbone=.*other: its tokenizer has 9 word pieces, the prepared corpus 8"
    ):
        stage("encoder=hf", f"encoder.name={tmp_path / 'own'}", f"reranker.backbone={tmp_path / 'other'}").preflight(
            ["train"]
        )
    stage("encoder=hf", f"encoder.name={tmp_path / 'own'}", f"reranker.backbone={tmp_path / 'own'}").preflight(
        ["train"]
    )
    checkpoint(tmp_path / "large", [f"w{i}" for i in range(200)])
    with pytest.raises(BadInput, match="it has 205 word pieces, the vocabulary trained on the corpus at most 100"):
        stage("encoder.tokenizer.size=100", f"reranker.backbone={tmp_path / 'large'}").preflight(["train"])


def test_lengths_and_two_beginnings(tmp_path):
    with pytest.raises(BadInput, match="reranker.length=200: the encoder has only 128 positions"):
        stage("reranker.length=200").preflight(["train"])
    with pytest.raises(BadInput, match="reranker.inputs.encoder are both given"):
        stage("reranker.backbone=x").check_inputs({"encoder": "pretrain", "ranking": "evaluate2"})
