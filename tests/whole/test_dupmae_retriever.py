"""DupMAE's mixed representation through every stage; its run file is that of a plain double loop over all pairs."""

import json
import re
import shutil

import numpy as np
import pytest
import torch
from support import command as tools

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.evaluation.measure.trec import read_run
from bmae_lightning.retrieval.dual_encoder import load_dual_encoder
from bmae_lightning.retrieval.index.exact import ExactIndex
from bmae_lightning.retrieval.index.faiss import FaissIndex
from bmae_lightning.retrieval.representation.hybrid import HybridRepresentation
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.retrieval.search import check_index
from bmae_lightning.runtime.errors import BadInput


def one_by_one(model, store, length, passages):
    with torch.inference_mode():
        return [model(model.encoder.vocabulary.pad([store[row]], length), passages) for row in range(len(store))]


def test_a_mixed_retriever_is_trained_and_evaluated(tmp_path, collection):
    arguments = [
        "+experiment=dupmae", "recipe=retriever1", *tools.TINY[1:], f"corpus.path={collection}",
        "representation=hybrid", "representation.dense=8", "representation.lexical=12",
        "retriever1.similarity=dot", "pretrain.steps=3", "retriever1.steps=2", "logger=none", "baseline=false",
    ]  # fmt: skip
    output = tools.command(*arguments, cwd=tmp_path)
    assert re.search(r"^dupmae +\d\.\d", output, re.MULTILINE)
    assert "evaluate (dupmae): depth=1,000 is more than there are passages; all 60 are ranked" in output
    store = tmp_path / "outputs" / "store"
    (evaluated,) = (path.parent for path in store.glob("evaluate-*/done"))
    (prepared,) = (path.parent for path in store.glob("prepare-*/done"))
    (trained,) = (path.parent for path in store.glob("retriever1-*/done"))
    assert json.loads((evaluated / "metrics.json").read_text())["index_bytes"] == 60 * (8 * 4 + 12 * (2 + 4))
    model, config = load_dual_encoder(trained / "retriever")
    assert (config.lexical_head, config.separator) == ("linear", "exclude"), "as the bag of words in pre-training"
    passages, queries = TokenStore(prepared / "passages"), TokenStore(prepared / "queries")
    of_passages = one_by_one(model, passages, config.passage_length, True)
    of_queries = one_by_one(model, queries, config.query_length, False)
    ranked = read_run(evaluated / "run.test.trec")
    assert len(ranked) == 20
    for query, ranking in ranked.items():
        q, right = of_queries[queries.row_of(query)], {}
        for row, passage in enumerate(of_passages):
            indices_K = passage.lexical.indices_BK[0].long()
            lexical = q.lexical[0, indices_K] @ passage.lexical.values_BK[0]
            right[passages.external_ids[row]] = float(q.dense_BD[0] @ passage.dense_BD[0] + lexical)
        assert {passage for passage, _ in ranking} == set(right)
        scores = np.array([right[passage] for passage, _ in ranking])
        assert (np.diff(scores) < 1e-4).all(), "the order of the run is that of the scores"
        assert scores[0] > scores[-1] + 0.1


def test_an_index_for_dense_vectors_is_refused():
    mixed, dense = HybridRepresentation("cls", 8, 12), PooledRepresentation()
    check_index(ExactIndex("auto"), mixed.lexical)
    for index in (FaissIndex("Flat"), ExactIndex("faiss")):
        with pytest.raises(BadInput, match="faiss searches dense vectors only.*index=exact"):
            check_index(index, mixed.lexical)
        check_index(index, dense.lexical)


def test_a_query_of_which_nothing_is_left(cli, tmp_path, collection):
    broken = tmp_path / "invisible"
    shutil.copytree(collection, broken)
    with (broken / "queries.jsonl").open("a") as file:
        file.write(json.dumps({"_id": "ghost", "text": "\u200b\u200b"}) + "\n")
    last = cli(f"corpus.path={broken}", "stage=[prepare]", "logger=none", code=2).splitlines()[-1]
    assert last.startswith("error: ")
    assert "leaves nothing of query 'ghost'" in last
