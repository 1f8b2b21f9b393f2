"""Natural Questions through the stages: answer recall, mining by answers, positives with one, own hard negatives."""

from types import SimpleNamespace

import pytest
from support.dpr_files import QUESTIONS, TRAIN, passages, write_dpr
from support.stages import composed_stage, context, prepare

from bmae_lightning.corpus.beir import BeirCorpus
from bmae_lightning.corpus.dpr import DprCorpus
from bmae_lightning.evaluation.measure.answers import has_answer
from bmae_lightning.evaluation.measure.trec import read_qrels, read_run
from bmae_lightning.report.tracking.loggers import NoTracking
from bmae_lightning.retrieval.index.bm25 import Bm25
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import read_json
from bmae_lightning.stage.answer_judgments import require_measures
from bmae_lightning.stage.bm25 import Bm25Ranking
from bmae_lightning.stage.mined_negatives import read_mined
from bmae_lightning.stage.prepared import Prepared

TEXTS = {id: text for id, text, _ in passages()}
MEASURES = ["answer_R@1", "answer_R@2", "answer_R@10"]


@pytest.fixture(scope="module")
def ranked(tmp_path_factory):
    """(prepared directory, directory of the BM25 ranking)"""
    root = tmp_path_factory.mktemp("nq")
    prepare(root / "prepare", DprCorpus(str(write_dpr(root / "files"))))
    stage = Bm25Ranking(
        ranker=Bm25(), train_depth=10, depth=10, splits=["test", "dev"], measures=MEASURES, logger=NoTracking()
    )
    stage.run(context(root / "bm25", corpus=root / "prepare"))
    return root / "prepare", root / "bm25"


def stage(positives, size, depth):
    sizes = (f"retriever1.train_group_size={size}", f"negatives.depth={depth}")
    return composed_stage("retriever1", f"retriever1.positives={positives}", *sizes, "seed=1")


def test_what_prepare_keeps(ranked):
    prepared = Prepared(ranked[0])
    assert prepared.answers("test")["test-1"] == QUESTIONS["test"][0][1]
    assert prepared.qrels("test") == {f"test-{i}": {} for i in range(1, 5)}
    assert prepared.qrels("train")["train-1"] == {"1": 1, "2": 1}
    own = read_run(ranked[0] / "run.train.trec")
    assert {q: own.passages(q) for q in own} == {
        f"train-{i}": [str(p) for p in hard] for i, (_, _, positives, hard) in enumerate(TRAIN, 1) if positives
    }
    assert not list(ranked[0].glob("*shards"))


@pytest.mark.parametrize("split", ["test", "dev"])
def test_answer_recall_over_all_questions(ranked, split):
    run, results = read_run(ranked[1] / f"run.{split}.trec"), read_json(ranked[1] / "metrics.json")[split]
    per_query = read_json(ranked[1] / f"per_query.{split}.json")
    assert results["queries"] == len(QUESTIONS[split])
    for k in (1, 2, 10):
        expected = {
            f"{split}-{i}": float(any(has_answer(TEXTS[p], answers) for p in run.passages(f"{split}-{i}")[:k]))
            for i, (_, answers) in enumerate(QUESTIONS[split], 1)
        }
        assert per_query[f"answer_R@{k}"] == expected
        assert results["mean"][f"answer_R@{k}"] == pytest.approx(sum(expected.values()) / len(expected))
    assert 0 < results["mean"]["answer_R@10"] <= 1


def test_mined_negatives_hold_no_answer(ranked):
    prepared = Prepared(ranked[0])
    run, marks = read_run(ranked[1] / "run.train.trec"), read_qrels(ranked[1] / "answers.train.trec")
    answers = prepared.answers("train")
    held = {query: {p for p in run.passages(query) if has_answer(TEXTS[p], answers[query])} for query in run}
    assert {query: {p for p, mark in marks[query].items() if mark} for query in marks} == held
    assert any(held[query] - set(prepared.qrels("train")[query]) for query in held), "an unlabelled passage has one"
    found = read_mined(ranked[1])
    for query in found.negatives:
        assert found.negatives.passages(query) == [p for p in run.passages(query) if p not in held[query]]


@pytest.mark.parametrize("rule", ["labelled", "first", "answers"])
def test_groups_of_training_questions(ranked, rule):
    prepared = Prepared(ranked[0])
    qrels, store = prepared.qrels("train"), prepared.passages()
    groups = stage(rule, 4, 10).groups(qrels, (prepared.queries(), store), read_mined(ranked[1]))
    answers, seen = prepared.answers("train"), {}
    for number, query in enumerate(groups.ids):
        for epoch in range(6):
            first, *others = [store.external_id(row) for row in groups.draw(number, epoch)]
            seen.setdefault(query, set()).add(first)
            assert not set(others) & set(qrels[query])
            assert not any(has_answer(TEXTS[passage], answers[query]) for passage in groups.negatives[query])
    assert (
        seen["train-1"] == {"labelled": {"1", "2"}, "first": {"1"}, "answers": set(groups.positives["train-1"])}[rule]
    )
    assert groups.known["train-1"][:2] == ["1", "2"]


def test_a_ranking_that_comes_with_the_collection(ranked, tmp_path):
    prepared = Prepared(ranked[0])
    retriever, stores = stage("first", 2, 5), (prepared.queries(), prepared.passages())
    groups = retriever.groups(prepared.qrels("train"), stores, read_mined(ranked[0]))
    assert groups.negatives["train-1"] == ["9", "4"]
    node = SimpleNamespace(stage="prepare", config={"corpus": DprCorpus(str(ranked[0].parent / "files")).node()})
    retriever.check_inputs({"ranking": node})
    node.config = {"corpus": BeirCorpus(str(tmp_path)).node()}
    with pytest.raises(BadInput, match="retriever1.inputs.ranking=prepare: the corpus comes without hard negatives"):
        retriever.check_inputs({"ranking": node})


def test_measures_must_fit_what_a_split_has(ranked):
    prepared = Prepared(ranked[0])
    require_measures(prepared, {"test": ["answer_R@20"]})
    require_measures(prepared, {"train": ["answer_R@20", "RR@10"]})
    with pytest.raises(
        BadInput, match=r"RR@10 needs judgments, but the split 'test' of nq has answers alone: use answer_R"
    ):
        require_measures(prepared, {"train": ["RR@10"], "test": ["answer_R@20", "RR@10"]})
    judged = SimpleNamespace(answers=lambda split: {}, qrels=lambda split: {"q": {"p": 1}}, record={"name": "scifact"})
    with pytest.raises(BadInput, match="answer_R@20 needs questions with answers.*'test' of scifact"):
        require_measures(judged, {"test": ["nDCG@10", "answer_R@20"]})
