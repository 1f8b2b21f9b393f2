"""What was mined, where it must come from, and the groups that stages draw from it."""

from types import SimpleNamespace

import pytest
from support.stages import composed_stage, context, prepare

from bmae_lightning.evaluation.measure.trec import run_of_lists, write_run
from bmae_lightning.retrieval.negatives.source import Negatives
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.stage.mined_negatives import Mined, read_mined
from bmae_lightning.stage.prepared import Prepared


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, collection):
    return prepare(tmp_path_factory.mktemp("mined") / "prepare", collection)


def ranking(directory, passages):
    directory.mkdir(exist_ok=True)
    write_run(directory / "run.train.trec", run_of_lists((f"q{i}", passages) for i in range(40)), "x")
    return directory


def test_passages_with_an_answer_are_no_negatives(tmp_path):
    run = run_of_lists([("q1", ["a", "b", "c"]), ("q2", ["b"])])
    assert Mined(run, {}).negatives is run
    kept = Mined(run, {"q1": {"b": 1, "a": 0}}).negatives
    assert {query: kept.passages(query) for query in kept} == {"q1": ["a", "c"], "q2": ["b"]}
    found = read_mined(ranking(tmp_path / "bm25", ["p1", "p2"]))
    assert (found.found.passages("q3"), found.answered) == (["p1", "p2"], {})


def test_a_ranking_must_be_made_by_a_stage():
    composed_stage("retriever1", "negatives=random").check_inputs({})
    stage = composed_stage("retriever1")
    stage.check_inputs({"ranking": SimpleNamespace(stage="bm25", config={})})
    with pytest.raises(BadInput, match="retriever1.inputs.ranking is empty: name the stage whose ranking"):
        stage.check_inputs({"ranking": None})
    silent = SimpleNamespace(stage="evaluate", config={"train_depth": 0})
    with pytest.raises(BadInput, match="from evaluate, which does not search for training queries: set evaluate"):
        composed_stage("retriever2").check_inputs({"ranking": silent})


@pytest.mark.parametrize("name", ["retriever1", "reranker"])
def test_groups_of_a_stage(name, corpus, tmp_path):
    stage = composed_stage(name, f"{name}.train_group_size=3", "train_share=0.5")
    made = context(tmp_path / name, corpus=corpus, ranking=ranking(tmp_path / "bm25", ["p58", "p59"]))
    prepared = Prepared(corpus)
    stores, qrels = (prepared.queries(), prepared.passages()), prepared.qrels("train")
    groups = stage.groups(qrels, stores, stage.mined(made), held_out=["q0", "q1"])
    assert set(groups.ids) == set(stage.train_queries.of(qrels)) - {"q0", "q1"}
    for number, query in enumerate(groups.ids):
        first, *others = (stores[1].external_id(row) for row in groups.draw(number, 0))
        assert first == f"p{query[1:]}"
        assert set(others) == {"p58", "p59"}
    random = composed_stage(name, f"negatives{'@reranker.negatives' if name == 'reranker' else ''}=random")
    assert random.mined(made) is None


def test_ids_of_the_users_own_file_are_looked_up_first(corpus, tmp_path):
    path = ranking(tmp_path / "mine", ["p1", "p99"]) / "run.train.trec"
    stage = composed_stage("retriever1", "negatives=file", f"negatives.path={path}")
    with pytest.raises(BadInput, match=r"run.train.trec: query q0 lists the passage 'p99', which the corpus does not"):
        stage.check_corpus(corpus)
    composed_stage("retriever1").check_corpus(corpus)


def test_a_source_of_ones_own_says_which_passages():
    class Every(Negatives):
        def of(self, run, positives):
            return {query: ["p1"] for query in positives}

    assert Every().of(None, {"q": ["p2"]}) == {"q": ["p1"]}
    with pytest.raises(TypeError, match="abstract"):
        Negatives()
