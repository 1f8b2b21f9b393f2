"""What a card says; that its code makes the vectors of the retriever is shown in test_export."""

import json

import pytest
from support.cards import CORPUS, RESULTS

from bmae_lightning.retrieval.model_card import base_model_of, lineage_of, model_card
from bmae_lightning.retrieval.retriever_config import RetrieverConfig


def card(config, parts=(".",), corpus=CORPUS, results=RESULTS):
    return model_card("none", config, list(parts), 16, corpus, [], results, None)


@pytest.mark.parametrize(
    ("title", "words"),
    {
        "drop": "Titles of passages are left out.", "pair": "written as `title [SEP] text`",
        "prepend": "written as title, blank, text",
    }.items(),
)  # fmt: skip
def test_the_card_says_what_became_of_titles(title, words):
    assert words in card(RetrieverConfig("cls", "digest", "dot", 6, 11), corpus=CORPUS | {"title": title})


def test_the_card_says_how_a_text_becomes_a_vector():
    text = card(RetrieverConfig("mean", "digest", "dot", 6, 11, "q: ", "p: ", lexical=7, dense=5), parts=())
    for line in (
        "- Vector: the mean of all states, [CLS] and [SEP] included of the last layer, mapped linearly, 16 dimensions; "
        "the maximum of the vocabulary logits over all positions but [CLS] ([SEP] included; activation none); passages "
        "keep the 7 largest entries, queries all.",
        "- Score: inner product, of both parts together.",
        "- Prefixes: queries 'q: ', passages 'p: '.",
        "library_name: transformers",
    ):
        assert line in text.splitlines(), line
    text = card(RetrieverConfig("cls", "digest", "cos", 6, 11, shared=False), ("query", "passage"), results={})
    assert "- Score: cosine (vectors have length 1)." in text.splitlines()
    assert "- Two encoders: queries in `query/`, passages in `passage/`." in text.splitlines()
    assert "## Measures" not in text
    assert text.endswith("`train` only.\n\n## Training\n")


def test_the_card_says_what_was_done(tmp_path):
    config = RetrieverConfig("mean", "digest", "cos", 32, 64)
    stages = {
        "pretrain-1": ({}, {"_target_": "a.Pretrain", "trainer": {"devices": 1}, "lr": 1e-4, "view": {"passage": {
            "mask": {"_target_": "a.Uniform", "rate": 0.3}}}}),
        "bm25-1": ({}, {"_target_": "a.Bm25Ranking"}),
        "retriever1-1": ({"encoder": "pretrain-1", "ranking": "bm25-1", "other": "gone-1"}, {
            "trainer": {}, "negatives": {"_target_": "b.RankedNegatives", "depth": 200}, "steps": 40, "epochs": None,
            "encoder": {"_target_": "c.PretrainedEncoder", "name": "someone/bert"}, "logger": {"a": 1}}),
    }  # fmt: skip
    for name, (inputs, options) in stages.items():
        (tmp_path / name).mkdir()
        context = {
            "stage": name.partition("-")[0], "inputs": {role: f"/moved/{source}" for role, source in inputs.items()},
        }  # fmt: skip
        (tmp_path / name / "manifest.json").write_text(json.dumps({"context": context, "config": options}))
    lineage = lineage_of(tmp_path / "retriever1-1")
    assert [name for name, _ in lineage] == ["pretrain", "retriever1"]
    assert base_model_of(lineage) == "someone/bert"
    card = model_card("retromae", config, ["."], 384, CORPUS, lineage, RESULTS, base_model_of(lineage))
    assert "base_model: someone/bert" in card
    assert "pre-trained by retromae" in card
    assert "`things`: 60 passages" in card
    assert "/somewhere" not in card
    for line in (
        "| view.passage.mask | `Uniform` |", "| view.passage.mask.rate | `0.3` |", "| negatives | `RankedNegatives` |",
        "| negatives.depth | `200` |", "| steps | `40` |", "| test | 20 | 0.1235 |",
    ):  # fmt: skip
        assert line in card, line
    for absent in ("logger", "trainer", "epochs"):
        assert absent not in card
    assert base_model_of([("retriever1", {"encoder": {"name": str(tmp_path)}})]) is None
    assert base_model_of([("retriever1", {"encoder": {"size": 3}})]) is None
