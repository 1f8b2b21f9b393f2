"""A small checkpoint of every family, in its published layout, through the ladders of RetroMAE and CDMAE and MASTER."""

import json
from pathlib import Path

import pytest
from support.backbones import TOKENIZERS
from support.families import write_family

from bmae_lightning.retrieval.dual_encoder import load_dual_encoder

SHORT = [
    "corpus=beir", "recipe=ladder", "logger=none", "baseline=false", "pretrain.steps=1", "retriever1.steps=1",
    "retriever2.steps=1", "reranker.steps=1", "distilled.steps=1", "pretrain.batch_size=8", "retriever1.batch_size=8",
    "reranker.batch_size=4", "pretrain.length=48", "retriever1.passage_length=48", "reranker.length=60",
]  # fmt: skip
SEVEN = ["bert", "roberta", "xlm_roberta", "electra", "distilbert", "mpnet", "deberta-v2", "deberta-v3", "modernbert"]
PIECES = {
    "roberta": "roberta", "xlm_roberta": "deberta", "deberta-v2": "deberta", "deberta-v3": "deberta",
    "modernbert": "roberta",
}  # fmt: skip
"""Whose tokenizer a family has: byte pairs as RoBERTa's or SentencePiece's unigrams as DeBERTa's; else BERT's."""


def write(family, directory, collection):
    texts = [json.loads(line)["text"] for line in (collection / "corpus.jsonl").open()]
    tokenizer = TOKENIZERS[PIECES.get(family, "bert")](texts)
    return write_family(
        family, directory, tokenizer, max_position_embeddings=66, pad_token_id=tokenizer.pad_token_id
    )  # fmt: skip


def test_layers_that_cannot_be_copied_are_told_before_any_work(here, tmp_path, collection):
    write("modernbert", tmp_path / "model", collection)
    encoder = ["encoder=hf", f"encoder.name={tmp_path / 'model'}", f"corpus.path={collection}"]
    written = here("+experiment=encdec_mlm", *encoder, *SHORT, code=2)
    assert "decoders.shallow: init: last_layers copies layers that are built as BERT's" in written
    assert not (tmp_path / "outputs" / "store").exists()


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["retromae", "cdmae", "master"])
@pytest.mark.parametrize("family", SEVEN)
def test_every_family_climbs_the_ladder(family, experiment, here, tmp_path: Path, collection):
    model = write(family, tmp_path / "model", collection)
    stage = ["stage=[pretrain]"] * (experiment == "master")
    written = here(
        f"+experiment={experiment}", "encoder=hf", f"encoder.name={tmp_path / 'model'}", f"corpus.path={collection}",
        *SHORT, *stage,
    )  # fmt: skip
    assert ("computes padding too" in written) == (family in ("mpnet", "deberta-v2", "deberta-v3"))
    store = tmp_path / "outputs" / "store"
    (pretrain,) = store.glob("pretrain-*")
    assert json.loads((pretrain / "encoder" / "config.json").read_text())["model_type"] == model.config.model_type
    if not stage:
        (distilled,) = store.glob("distilled-*")
        assert type(load_dual_encoder(distilled / "retriever")[0].encoder.masked_lm) is type(model)
