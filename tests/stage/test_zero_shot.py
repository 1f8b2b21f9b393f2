"""One retriever on one collection: its run without identical ids, to the asked depth, and nothing else left.

The fingerprint of a pair is of content, and a finished ranking is measured again where other measures are wanted.
"""

import json
from dataclasses import replace
from functools import partial

import pytest
from pytorch_lightning import Trainer
from support.retrievers import save_retriever, scored_alone
from support.stages import context, prepare

from bmae_lightning.corpus.beir import BeirCorpus
from bmae_lightning.evaluation.measure.ranking import evaluate
from bmae_lightning.evaluation.measure.trec import read_run
from bmae_lightning.retrieval.index.bm25 import Bm25
from bmae_lightning.retrieval.index.exact import ExactIndex
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import read_json
from bmae_lightning.stage import zero_shot as module
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.zero_shot import Pairs, ZeroShot

BM25 = "bmae_lightning.retrieval.index.bm25.Bm25"


@pytest.fixture
def small(tmp_path):
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


def test_results_are_measures_of_the_run_without_the_query_itself(pairs, small):
    results = pairs.results("mine, bm25", small, Bm25())
    (directory,) = directories(pairs)
    run = read_run(directory / "run.trec.gz")
    assert "d3" not in run.passages("d3")
    assert results["mean"] == evaluate({"q0": {"d1": 1}, "d3": {"d3": 1}}, run, ["RR@10"]).mean
    assert (results["queries"], results["own_relevant"]) == (2, 1)
    assert json.loads((directory / "metrics.json").read_text()) == results


def test_a_finished_pair_is_skipped_whatever_it_is_called_and_measured_again(pairs, small, capsys, monkeypatch):
    pairs.results("mine, bm25", small, Bm25())
    monkeypatch.setattr(module, "run_here_or_in_child", lambda *_: pytest.fail("ranked again"))
    again = replace(pairs.context, settings=pairs.context.settings | {"measures": ["R@1", "RR@10"]})
    capsys.readouterr()
    results = replace(pairs, context=again, measures=["R@1", "RR@10"]).results("other, name", small, Bm25())
    assert list(results["mean"]) == ["R@1", "RR@10"]
    assert "suite (other, name): skipped, done in" in capsys.readouterr().out
    assert len(directories(pairs)) == 1


def test_what_a_ranking_depends_on_makes_another_pair(pairs, small, tmp_path):
    pairs.results("mine, bm25", small, Bm25())
    pairs.results("mine, bm25", small, Bm25(k1=1.5))
    replace(pairs, depth=1).results("mine, bm25", small, Bm25())
    replace(pairs, identical=True).results("mine, bm25", small, Bm25())
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


@pytest.fixture(scope="module")
def same_ids(tmp_path_factory, collection):
    """The collection with queries called as the passages that they are made of."""
    root = tmp_path_factory.mktemp("zero_shot") / "beir"
    (root / "qrels").mkdir(parents=True)
    (root / "corpus.jsonl").write_bytes((collection / "corpus.jsonl").read_bytes())
    (root / "queries.jsonl").write_text((collection / "queries.jsonl").read_text().replace('"_id": "q', '"_id": "p'))
    (root / "qrels" / "test.tsv").write_text((collection / "qrels" / "test.tsv").read_text().replace("q4", "p4"))
    return root


def zero_shot(collection, tokens, **options):
    trainer = partial(Trainer, accelerator="cpu", devices=1)
    given = {
        "collection": BeirCorpus(str(collection)), "tokens": str(tokens), "model": None, "bm25": Bm25(),
        "split": "test",
        "identical": True, "depth": 5, "index": ExactIndex(), "batch_tokens": 64, "shard": 16, "trainer": trainer,
    }  # fmt: skip
    return ZeroShot(**given | options)


def test_a_retriever_ranks_and_leaves_its_run(collection, tmp_path):
    prepared = Prepared(prepare(tmp_path / "corpus", collection))
    model = save_retriever(prepared, PooledRepresentation("mean"), tmp_path)
    zero_shot(collection, tmp_path / "tokens", model={"name": str(tmp_path / "retriever")}).run(context(tmp_path / "x"))
    assert {path.name for path in (tmp_path / "x").iterdir()} == {"run.trec.gz", "scores.parquet", "ranked.json"}
    assert read_json(tmp_path / "x" / "ranked.json")["passages"] == 60
    run, queries = read_run(tmp_path / "x" / "run.trec.gz"), prepared.queries()
    scores = scored_alone(model, queries, prepared.passages(), (12, 24))
    assert run.keys() == prepared.qrels("test").keys()
    for query in run:
        of = scores[queries.row_of(query)]
        order = sorted(range(60), key=lambda row, of=of: -of[row])[:5]
        assert run.passages(query) == [prepared.passages().external_id(row) for row in order]


@pytest.mark.parametrize("identical", [True, False])
def test_the_depth_is_that_of_what_is_left(identical, same_ids, tmp_path):
    lines = (same_ids / "qrels" / "test.tsv").read_text().splitlines()
    judged = [line for line in lines if line.startswith("p4")]
    (same_ids / "qrels" / "test.tsv").write_text("\n".join([lines[0], *judged]) + "\n")
    zero_shot(same_ids, tmp_path / "tokens", identical=identical, depth=3).run(context(tmp_path / "x"))
    run = read_run(tmp_path / "x" / "run.trec.gz")
    assert len(run) == 10
    assert {len(run[query]) for query in run} == {3}
    assert all((query == run.passages(query)[0]) is identical for query in run)
    assert all((query in run.passages(query)) is identical for query in run)


def test_a_judged_query_without_text_is_told_before_any_work(collection, tmp_path):
    stage = zero_shot(collection, tmp_path / "tokens")
    lost = stage.collection.queries
    stage.collection.queries = lambda: (query for query in lost() if query.id != "q41")
    with pytest.raises(BadInput, match="query 'q41' is judged but not among the queries"):
        stage.run(context(tmp_path / "x"))
    assert not list((tmp_path / "x").iterdir())
