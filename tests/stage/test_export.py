"""`stage=[export]` after a finished run: both arms, the card's figures are those of the run, mistakes are one line."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch
from support.vectors import encode

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.retrieval.dual_encoder import load_dual_encoder
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import write_json
from bmae_lightning.runtime.stage import Context
from bmae_lightning.stage.export import Export


def test_a_finished_run_is_exported(cli, tmp_path, collection):
    from sentence_transformers import SentenceTransformer

    short = ["logger=none", "pretrain.steps=2", "retriever1.steps=2", "retriever1.query_length=9"]
    assert "] export" not in cli(*short)
    output = cli(*short, "stage=[export]")
    paths = re.findall(r"export \((\w+)\): (\S+model) \(sentence-transformers", output)
    assert {arm for arm, _ in paths} == {"none", "retromae"}
    assert "started in" in output
    directory = Path(dict(paths)["retromae"])
    card = (directory / "README.md").read_text()
    node = json.loads((directory.parent / "manifest.json").read_text())["context"]["inputs"]
    measured = json.loads((Path(node["evaluation"]) / "metrics.json").read_text())["test"]["mean"]
    assert all(f"{value:.4f}" in card for value in measured.values())
    for words in (
        "### pretrain",
        "### retriever1",
        "| steps | `2` |",
        "queries 9, passages",
        "Collection `beir`",
        "60 passages",
        "retromae",
    ):
        assert words in card, words
    assert "### pretrain" not in (Path(dict(paths)["none"]) / "README.md").read_text()
    assert str(tmp_path) not in card
    assert str(collection.parent) not in card
    model, config = load_dual_encoder(Path(node["retriever"]) / "retriever")
    loaded = SentenceTransformer(str(directory))
    for name, length, method in [
        ("queries", config.query_length, loaded.encode_query), ("passages", config.passage_length,
        loaded.encode_document),
    ]:  # fmt: skip
        store = TokenStore(Path(node["corpus"]) / name)
        right = encode(model, store, np.arange(len(store)), length, 512, "cpu", lambda n: None, name == "passages")
        lines = (collection / f"{ {'queries': 'queries', 'passages': 'corpus'}[name] }.jsonl").read_text().splitlines()
        found = method([json.loads(line)["text"] for line in lines], convert_to_tensor=True)
        torch.testing.assert_close(found.cpu(), torch.from_numpy(right), rtol=0, atol=1e-5)
    assert cli(*short, "stage=[export]").count("skipped, done in") >= 2


def test_measures_of_another_retriever_are_refused(tmp_path):
    for name in ("corpus", "retriever1-a", "retriever1-b", "evaluate-a"):
        (tmp_path / name).mkdir()
    manifest = {"context": {"inputs": {"retriever": str(tmp_path / "retriever1-a")}}}
    write_json(tmp_path / "evaluate-a" / "manifest.json", manifest)
    inputs = {
        "corpus": tmp_path / "corpus", "retriever": tmp_path / "retriever1-b", "evaluation": tmp_path / "evaluate-a",
    }  # fmt: skip
    with pytest.raises(BadInput, match=r"evaluate-a.* measured another retriever .*retriever1-b"):
        Export().run(Context("export", "x", tmp_path, inputs, "g", tmp_path))
