"""One retriever on one collection: its run without identical ids, to the asked depth, and nothing else left."""

from functools import partial

import pytest
from pytorch_lightning import Trainer
from support.retrievers import save_retriever, scored_alone
from support.stages import context, prepare

from bmae_lightning.corpus.beir import BeirCorpus
from bmae_lightning.evaluation.measure.trec import read_run
from bmae_lightning.retrieval.index.bm25 import Bm25
from bmae_lightning.retrieval.index.exact import ExactIndex
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import read_json
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.zero_shot import ZeroShot


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
        "collection": BeirCorpus(str(collection)), "tokens": str(tokens), "model": None, "bm25": Bm25(), "split": "test",
        "identical": True, "depth": 5, "index": ExactIndex(), "batch_tokens": 64, "shard": 16, "trainer": trainer,
    }  # fmt: skip
    return ZeroShot(**given | options)


def test_a_retriever_ranks_and_leaves_its_run(collection, tmp_path):
    prepared = Prepared(prepare(tmp_path / "corpus", collection))
    model = save_retriever(prepared, PooledRepresentation("mean"), tmp_path)
    zero_shot(collection, tmp_path / "tokens", model={"name": str(tmp_path / "retriever")}).run(context(tmp_path / "x"))
    assert {path.name for path in (tmp_path / "x").iterdir()} == {"run.trec.gz", "ranked.json"}
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
