"""Measures against trec_eval's published conventions and slow references written here."""

import math
import random

import pytest

from bmae_lightning.errors import BadInput
from bmae_lightning.measure.ranking import evaluate
from bmae_lightning.run import Run, read_run, write_qrels, write_run

QRELS = {"1": {"d10": 1, "d9": 0, "d5": 3, "dX": 2}, "2": {"a": 1}, "3": {"z": 1}}
RANKED = {"1": {"d9": 0.5, "d10": 0.5, "d5": 0.4, "u": 0.3}, "2": {"b": 0.9, "a": 0.90000000001}}


def test_f27_the_golden_numbers_of_trec_eval():
    measured = evaluate(QRELS, RANKED, ["nDCG@10", "RR", "R@10", "RR(rel=2)", "R(rel=2)@10"])
    assert measured.queries == 3
    assert measured.mean["nDCG@10"] == pytest.approx(0.3595, abs=5e-5)  # trec_eval -c
    ndcg = measured.per_query["nDCG@10"]
    assert [round(ndcg[query], 4) for query in "123"] == [0.4475, 0.6309, 0.0]
    assert measured.per_query["RR"] == {"1": 0.5, "2": 0.5, "3": 0.0}
    assert measured.per_query["R@10"] == pytest.approx({"1": 2 / 3, "2": 1.0, "3": 0.0})
    assert measured.per_query["RR(rel=2)"] == pytest.approx({"1": 1 / 3, "2": 0.0, "3": 0.0})
    assert measured.per_query["R(rel=2)@10"] == pytest.approx({"1": 0.5, "2": 0.0, "3": 0.0})


def reference(judged, ranking):
    """RR@10, nDCG@10, R@5 of one ranking, from their definitions"""
    hits = [rank for rank, passage in enumerate(ranking, 1) if judged.get(passage, 0) > 0]
    gains = sorted((grade for grade in judged.values() if grade > 0), reverse=True)[:10]
    ideal = sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, 1))
    dcg = sum(max(judged.get(passage, 0), 0) / math.log2(rank + 1) for rank, passage in enumerate(ranking[:10], 1))
    relevant = sum(grade > 0 for grade in judged.values())
    return {
        "RR@10": 1 / hits[0] if hits and hits[0] <= 10 else 0.0,
        "nDCG@10": dcg / ideal if ideal else 0.0,
        "R@5": sum(rank <= 5 for rank in hits) / relevant if relevant else 0.0,
    }


def test_f27_random_runs_with_ties_and_negative_scores(tmp_path):
    rng = random.Random(5)
    names = [f"d{i}" for i in range(40)]
    qrels = {f"q{q}": {name: rng.choice([0, 0, 1, 2]) for name in rng.sample(names, 8)} for q in range(60)}
    ranked = {f"q{q}": {name: rng.choice([-3.0, -1.0, 0.0]) for name in rng.sample(names, 25)} for q in range(5, 70)}
    measures = ["RR@10", "nDCG@10", "R@5"]
    run = Run(ranked)
    measured = evaluate(qrels, ranked, measures)
    for query, judged in qrels.items():
        expected = reference(judged, run.passages(query) if query in run else [])
        assert {name: measured.per_query[name][query] for name in measures} == pytest.approx(expected)
    for name in measures:
        assert measured.mean[name] == pytest.approx(sum(measured.per_query[name].values()) / 60)

    write_qrels(tmp_path / "qrels", qrels)
    write_run(tmp_path / "run", run, "t")
    assert evaluate(tmp_path / "qrels", tmp_path / "run", measures) == measured
    assert evaluate(qrels, read_run(tmp_path / "run"), measures) == measured


def test_a_run_keeps_its_own_tie_order():
    first = Run({"q": [("a", 1.0), ("z", 1.0)]})
    assert evaluate({"q": {"a": 1}}, first, ["RR@10"]).mean == {"RR@10": 1.0}
    assert evaluate({"q": {"a": 1}}, {"q": {"a": 1.0, "z": 1.0}}, ["RR@10"]).mean == {"RR@10": 0.5}


def test_many_queries_are_measured_in_pieces(monkeypatch):
    qrels = {str(q): {"a": 1} for q in range(7)}
    run = {str(q): {"a": 1.0} for q in range(0, 7, 2)}
    whole = evaluate(qrels, run, ["RR@10", "R@50"])
    monkeypatch.setattr("bmae_lightning.measure.ranking.CHUNK", 2)
    assert evaluate(qrels, run, ["RR@10", "R@50"]) == whole
    assert whole.mean["R@50"] == pytest.approx(4 / 7)


def test_names_are_canonical_and_unknown_ones_explained():
    assert list(evaluate(QRELS, RANKED, ["MRR@10", "AP"]).mean) == ["RR@10", "AP"]
    for name in ("mrr@10", "nDCG(", "recall"):
        with pytest.raises(BadInput, match="nDCG@10"):
            evaluate(QRELS, RANKED, [name])


def test_ids_of_another_split_and_empty_sides():
    with pytest.raises(BadInput, match="'x'"):
        evaluate(QRELS, {"x": {"a": 1.0}})
    with pytest.raises(BadInput, match="no judged query"):
        evaluate({}, RANKED)
    assert evaluate(QRELS, {}, ["RR@10"]).mean == {"RR@10": 0.0}
