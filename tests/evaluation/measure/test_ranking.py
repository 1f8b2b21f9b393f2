"""Measures against trec_eval's published conventions and slow references written here."""

import math
import random

import ir_measures
import pytest
import pytrec_eval

from bmae_lightning.evaluation.measure.ranking import check_measures, evaluate, measures_of
from bmae_lightning.evaluation.measure.trec import Run, read_run, write_qrels, write_run
from bmae_lightning.runtime.errors import BadInput

QRELS = {"1": {"d10": 1, "d9": 0, "d5": 3, "dX": 2}, "2": {"a": 1}, "3": {"z": 1}}
RANKED = {"1": {"d9": 0.5, "d10": 0.5, "d5": 0.4, "u": 0.3}, "2": {"b": 0.9, "a": 0.90000000001}}


def test_the_golden_numbers_of_trec_eval():
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


def test_random_runs_with_ties_and_negative_scores(tmp_path):
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
    monkeypatch.setattr("bmae_lightning.evaluation.measure.ranking.CHUNK", 2)
    assert evaluate(qrels, run, ["RR@10", "R@50"]) == whole
    assert whole.mean["R@50"] == pytest.approx(4 / 7)


def test_names_are_canonical_and_unknown_ones_explained():
    assert list(evaluate(QRELS, RANKED, ["MRR@10", "AP"]).mean) == ["RR@10", "AP"]
    for name in ("mrr@10", "nDCG(", "recall"):
        with pytest.raises(BadInput, match="nDCG@10"):
            evaluate(QRELS, RANKED, [name])


def test_binary_measures_of_graded_judgments_count_from_a_grade():
    """By hand: of q's passages only b has grade 2; r has none, so that its values are 0."""
    qrels = {"q": {"a": 1, "b": 2, "c": 0}, "r": {"d": 1}}
    run = {"q": {"a": 3.0, "b": 2.0, "c": 1.0}, "r": {"d": 1.0}}
    measured = evaluate(qrels, run, ["RR(rel=2)@10", "R(rel=2)@1", "R(rel=2)@2", "RR@10"])
    assert measured.mean == {"RR(rel=2)@10": 0.25, "R(rel=2)@1": 0.0, "R(rel=2)@2": 0.5, "RR@10": 1.0}


def test_measures_by_split_and_for_all():
    by_split = ["RR@10", {"dl19": ["nDCG@10"], "dl20": ["Foo"]}, "R@5"]
    assert [measures_of(by_split, split) for split in ("dev", "dl19")] == [["RR@10", "R@5"], ["nDCG@10"]]
    assert measures_of(["R@5"], "dev") == measures_of(["R@5"], "dl19") == ["R@5"]
    for wrong in ("RR@10", [], {"dev": ["RR@10"]}, None):
        with pytest.raises(
            BadInput, match=r"measures must be a list of at least one, as measures=\[nDCG@10\] or .*, got"
        ):
            check_measures(wrong, ["dev"])
    for wrong in ([{"dl19": ["RR@10"]}], ["RR@10", {"dev": "RR@10"}], ["RR@10", {"dev": []}]):
        with pytest.raises(BadInput, match="must be a list of at least one for the split 'dev', as"):
            check_measures(wrong, ["dev"])
    check_measures(by_split, ["dev", "dl19"])
    with pytest.raises(BadInput, match="unknown measure 'Foo'"):
        check_measures(by_split, ["dev", "dl19", "dl20"])


def test_ids_of_another_split_and_empty_sides():
    with pytest.raises(BadInput, match="'x'"):
        evaluate(QRELS, {"x": {"a": 1.0}})
    with pytest.raises(BadInput, match="no judged query"):
        evaluate({}, RANKED)
    assert evaluate(QRELS, {}, ["RR@10"]).mean == {"RR@10": 0.0}


def trec_evals_own(measure, judged, values):
    """`measure`, named as in ir_measures, from what trec_eval computed for one query; {} where it was not answered."""
    if measure == "RR@10":  # trec_eval has no cut-off: a first hit below rank 10 is none
        return values.get("recip_rank", 0.0) if values.get("recip_rank", 0.0) >= 0.1 else 0.0
    return values.get({"nDCG@10": "ndcg_cut_10", "R@5": "recall_5", "P@5": "P_5", "AP": "map"}[measure], 0.0)


def test_a_thousand_runs_equal_trec_evals_and_ir_measures_own_reading_of_the_files(tmp_path):
    """Ties, negative scores, scores tied in float32 only, unanswered and unjudged queries, graded and negative grades.

    Ours goes through `read_run` and `evaluate`; the reference parses the same files by pytrec_eval, orders ties itself.
    """
    rng = random.Random(11)
    measures = ["RR@10", "nDCG@10", "R@5", "P@5", "AP"]
    names = [f"d{i}" for i in range(30)]
    grades = {f"q{q}": {n: rng.choice([-1, 0, 0, 1, 2, 3]) for n in rng.sample(names, 9)} for q in range(6)}
    write_qrels(tmp_path / "qrels", grades)
    with (tmp_path / "qrels").open() as file:
        judge = pytrec_eval.RelevanceEvaluator(
            pytrec_eval.parse_qrel(file), {"recip_rank", "ndcg_cut.10", "recall.5", "P.5", "map"}
        )
    scores = [-3.5, -1.0, -1.0000000001, 0.0, 0.25, 200.0, 200.000001, 16777217, 16777216]
    for number in range(1000):
        path = tmp_path / "run"
        lines = [
            f"q{query} Q0 {passage} {rng.randrange(99)} {rng.choice(scores)!r} t\n"
            for query in rng.sample(range(8), rng.randint(1, 5))  # 6 and 7 are not judged
            for passage in rng.sample(names, rng.randint(1, 25))
        ]
        rng.shuffle(lines)
        path.write_text("".join(lines))
        with path.open() as file:
            found = judge.evaluate(pytrec_eval.parse_run(file))
        if not found:
            with pytest.raises(BadInput, match="is judged"):
                evaluate(tmp_path / "qrels", path, measures)
            continue
        measured = evaluate(tmp_path / "qrels", path, measures)
        assert (measured.queries, measured.answered) == (6, len(found))
        for measure in measures:
            expected = {q: trec_evals_own(measure, grades[q], found.get(q, {})) for q in grades}
            assert measured.per_query[measure] == pytest.approx(expected, abs=1e-12), (number, measure)
            assert measured.mean[measure] == pytest.approx(sum(expected.values()) / 6, abs=1e-12)
        if number % 10 == 0:  # its RR@10 has another rule for ties, so it reads scores that fall strictly
            write_run(path, read_run(path), "t")
            files = ir_measures.read_trec_qrels(str(tmp_path / "qrels")), ir_measures.read_trec_run(str(path))
            theirs = ir_measures.calc_aggregate(list(map(ir_measures.parse_measure, measures)), *files)
            assert measured.mean == pytest.approx({str(measure): value for measure, value in theirs.items()}, abs=1e-9)


def test_a_passage_that_stands_twice_is_refused(tmp_path):
    (tmp_path / "run").write_text("1 Q0 d10 1 2.0 t\n1 Q0 d9 2 1.5 t\n1 Q0 d10 3 1.0 t\n")
    with pytest.raises(BadInput, match="query 1 lists passage d10 twice; keep one line of each"):
        evaluate(QRELS, tmp_path / "run")
    with pytest.raises(BadInput, match="query 1 lists passage d10 twice"):
        evaluate(QRELS, Run({"1": [("d10", 2.0), ("d9", 1.5), ("d10", 1.0)]}))
