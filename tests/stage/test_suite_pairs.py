"""Pairs of a retriever and a collection: their fingerprint is of content, and a finished ranking is measured again."""

import json
from dataclasses import replace

import pytest
from support.stages import context

from bmae_lightning.corpus.beir import BeirCorpus
from bmae_lightning.evaluation.measure.ranking import evaluate
from bmae_lightning.evaluation.measure.trec import read_run
from bmae_lightning.retrieval.index.bm25 import Bm25
from bmae_lightning.retrieval.index.exact import ExactIndex
from bmae_lightning.stage import suite_pairs
from bmae_lightning.stage.suite_pairs import Pairs

BM25 = "bmae_lightning.retrieval.index.bm25.Bm25"


@pytest.fixture
def collection(tmp_path):
    """Four passages, two of them relevant to a query; one query is a passage itself."""
    directory = tmp_path / "mine"
    (directory / "qrels").mkdir(parents=True)
    texts = ["red apple tree", "green apple", "blue sea and sky", "a ship on the sea"]
    lines = [json.dumps({"_id": f"d{i}", "title": "", "text": text}) for i, text in enumerate(texts)]
    (directory / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    queries = {"q0": "apple", "d3": "ship sea"}
    lines = [json.dumps({"_id": id, "text": text}) for id, text in queries.items()]
    (directory / "queries.jsonl").write_text("\n".join(lines) + "\n")
    (directory / "qrels" / "test.tsv").write_text("q0\td1\t1\nd3\td3\t1\n")
    return BeirCorpus(str(directory), ["test"])


@pytest.fixture
def pairs(tmp_path):
    settings = {"measures": ["RR@10"], "processes": {"_target_": "pytorch_lightning.Trainer", "_partial_": True},
                "bm25": {"_target_": BM25}, "batch_tokens": 99, "shard": 9,
                "index": {"_target_": "bmae_lightning.retrieval.index.exact.ExactIndex"}}  # fmt: skip
    place = replace(context(tmp_path / "out" / "suite"), settings=settings)
    return Pairs(place, "test", False, 10, ["RR@10"], ExactIndex())


def directories(pairs):
    return sorted((pairs.context.output_dir / "store").glob("zero_shot-*"))


def test_results_are_measures_of_the_run_without_the_query_itself(pairs, collection):
    results = pairs.results("mine, bm25", collection, Bm25())
    (directory,) = directories(pairs)
    run = read_run(directory / "run.trec.gz")
    assert "d3" not in run.passages("d3")
    assert results["mean"] == evaluate({"q0": {"d1": 1}, "d3": {"d3": 1}}, run, ["RR@10"]).mean
    assert (results["queries"], results["own_relevant"]) == (2, 1)
    assert json.loads((directory / "metrics.json").read_text()) == results


def test_a_finished_pair_is_skipped_whatever_it_is_called_and_measured_again(pairs, collection, capsys, monkeypatch):
    pairs.results("mine, bm25", collection, Bm25())
    monkeypatch.setattr(suite_pairs, "run_here_or_in_child", lambda *_: pytest.fail("ranked again"))
    again = replace(pairs.context, settings=pairs.context.settings | {"measures": ["R@1", "RR@10"]})
    capsys.readouterr()
    results = replace(pairs, context=again, measures=["R@1", "RR@10"]).results("other, name", collection, Bm25())
    assert list(results["mean"]) == ["R@1", "RR@10"]
    assert "suite (other, name): skipped, done in" in capsys.readouterr().out
    assert len(directories(pairs)) == 1


def test_what_a_ranking_depends_on_makes_another_pair(pairs, collection, tmp_path):
    pairs.results("mine, bm25", collection, Bm25())
    pairs.results("mine, bm25", collection, Bm25(k1=1.5))
    replace(pairs, depth=1).results("mine, bm25", collection, Bm25())
    replace(pairs, identical=True).results("mine, bm25", collection, Bm25())
    assert len(directories(pairs)) == 4
    with (tmp_path / "mine" / "corpus.jsonl").open("a") as file:
        file.write(json.dumps({"_id": "d9", "text": "an apple more"}) + "\n")
    pairs.results("mine, bm25", BeirCorpus(str(tmp_path / "mine"), ["test"]), Bm25())
    assert len(directories(pairs)) == 5


def test_token_stores_are_freed(pairs):
    (pairs.context.directory / "tokens" / "x").mkdir(parents=True)
    pairs.free()
    pairs.free()
    assert not (pairs.context.directory / "tokens").exists()
