"""The pairs that are scored are those that distillation may draw, and the file holds each with its own score."""

from functools import partial

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from pytorch_lightning import Trainer
from support.stages import context, prepare

from bmae_lightning.evaluation.measure.trec import Run, write_run
from bmae_lightning.report.tracking.loggers import NoTracking
from bmae_lightning.retrieval.negatives.source import Groups, RankedNegatives
from bmae_lightning.retrieval.reranking.teacher_scores import TeacherScores
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import read_json
from bmae_lightning.stage import score as module
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.score import Score, names


class Product:
    """Scores a pair of rows by a number that no other pair has."""

    model = torch.nn.Linear(1, 1)

    def __call__(self, pairs_P2, advance, device):
        advance(len(pairs_P2))
        return (1000 * pairs_P2[:, 0] + pairs_P2[:, 1]).astype(np.float32)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, collection):
    return prepare(tmp_path_factory.mktemp("score") / "corpus", collection)


def score(**options):
    trainer = partial(Trainer, accelerator="cpu", devices=1)
    given = {"depth": 3, "batch_tokens": 64, "shard": 7, "trainer": trainer, "logger": NoTracking()}
    return Score(**given | options)


def test_positives_and_the_first_negatives_are_scored(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "open_scorer", lambda *_: Product())
    queries = list(Prepared(corpus).qrels("train"))
    ranking = {query: [(f"p{(int(query[1:]) + i) % 60}", -i) for i in range(6)] for query in queries[:-1]}
    ranking[queries[-1]] = [("p1", 1.0)]  # fewer than three
    (tmp_path / "ranking").mkdir()
    write_run(tmp_path / "ranking" / "run.train.trec", Run(ranking), "x")
    score().run(
        context(tmp_path / "score", corpus=corpus, ranking=tmp_path / "ranking", reranker=tmp_path / "reranker")
    )
    rows = pq.read_table(tmp_path / "score" / "scores.parquet").to_pylist()
    stores = Prepared(corpus).queries(), Prepared(corpus).passages()
    found: dict[str, list[str]] = {}
    for row in rows:
        found.setdefault(row["query"], []).append(row["passage"])
        query, passage = stores[0].row_of(row["query"]), stores[1].row_of(row["passage"])
        assert row["score"] == 1000 * query + passage
    wanted = {query: [f"p{(int(query[1:]) + i) % 60}" for i in range(4)] for query in queries[:-1]}
    assert found == wanted | {queries[-1]: ["p39", "p1"]}
    counts = {"pairs": 4 * 39 + 2, "queries": 40, "positives": 40, "short": 1}
    assert read_json(tmp_path / "score" / "metrics.json") == counts


def test_what_fills_lists_up_is_scored_as_training_draws_it(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(module, "open_scorer", lambda *_: Product())
    prepared = Prepared(corpus)
    run = Run({query: [("p1", 2.0), ("p2", 1.0)] for query in prepared.qrels("train")})
    (tmp_path / "ranking").mkdir()
    write_run(tmp_path / "ranking" / "run.train.trec", run, "x")
    score(least=6).run(
        context(tmp_path / "score", corpus=corpus, ranking=tmp_path / "ranking", reranker=tmp_path / "reranker")
    )
    stores = prepared.queries(), prepared.passages()
    groups = Groups(prepared.qrels("train"), *stores, RankedNegatives(3, least=6), run, 7, seed=5)
    teacher = TeacherScores(tmp_path / "score" / "scores.parquet", *stores)
    teacher.check(groups)
    assert groups.short == 0
    assert len(teacher) == 40 * 7


def test_names_of_rows(corpus):
    prepared = Prepared(corpus)
    rows = np.array([[3, 5], [3, 0], [1, 5], [3, 5]], dtype=np.int32)
    found = names(rows, prepared.queries(), prepared.passages())
    assert found == (["q3", "q3", "q1", "q3"], ["p5", "p0", "p5", "p5"])


def test_a_ranking_without_training_queries_is_refused():
    stage, ranking = score(), type("Node", (), {"stage": "evaluate", "config": {"train_depth": 0}})
    with pytest.raises(BadInput, match="which evaluate does not make: set its train_depth=200"):
        stage.check_inputs({"ranking": ranking})
    with pytest.raises(ValueError, match="shard must be at least 1, got 0"):
        score(shard=0)
