"""What the measures must obey whatever the ranking (docs/finetuning.md §12)."""

import random

import pytest

from bmae_lightning.evaluation.measure.ranking import evaluate
from bmae_lightning.evaluation.measure.trec import Run, read_run, write_run

PASSAGES = [f"d{i}" for i in range(30)]


def ranking(draw):
    return [(passage, 30.0 - rank) for rank, passage in enumerate(draw.sample(PASSAGES, 30))]


def reciprocal(place):
    """RR@10 of a query whose relevant passage has the given place (from 1), beside a judged query without answer."""
    order = [passage for passage in PASSAGES if passage != "d7"]
    order.insert(place - 1, "d7")
    run = Run({"q": [(passage, -float(rank)) for rank, passage in enumerate(order)]})
    return evaluate({"q": {"d7": 1}, "unanswered": {"d3": 1}}, run, ["RR@10"])


def test_reciprocal_rank_stops_at_ten_and_counts_unanswered_queries():
    values = [reciprocal(place).mean["RR@10"] for place in range(1, 31)]
    assert values == pytest.approx([1 / place / 2 for place in range(1, 11)] + [0.0] * 20)
    assert values == sorted(values, reverse=True), "moving the relevant passage up never lowers it"
    assert reciprocal(1).per_query["RR@10"] == {"q": 1.0, "unanswered": 0.0}
    perfect = Run({query: [(passage, 1.0)] for query, passage in (("a", "d1"), ("b", "d2"))})
    assert evaluate({"a": {"d1": 1}, "b": {"d2": 2}}, perfect, ["RR@10"]).mean["RR@10"] == 1.0


def test_moving_any_relevant_passage_up_never_lowers_it():
    draw = random.Random(1)
    for _ in range(200):
        hits, judged = ranking(draw), dict.fromkeys(draw.sample(PASSAGES, 3), 1)
        place = draw.choice([rank for rank, (passage, _) in enumerate(hits) if passage in judged])
        moved = [passage for passage, _ in hits]
        moved.insert(draw.randint(0, place), moved.pop(place))
        runs = [[passage for passage, _ in hits], moved]
        before, after = (
            evaluate({"q": judged}, Run({"q": [(p, -float(i)) for i, p in enumerate(order)]}), ["RR@10"]).mean["RR@10"]
            for order in runs
        )
        assert after >= before


def test_recall_is_at_most_the_hit_rate_and_grows_with_depth():
    draw, depths = random.Random(2), (1, 3, 5, 10, 30)
    measures = [f"{kind}@{k}" for kind in ("R", "Success") for k in depths]
    several = {f"q{i}": dict.fromkeys(draw.sample(PASSAGES, draw.randint(1, 4)), 1) for i in range(50)}
    single = {query: dict([next(iter(judged.items()))]) for query, judged in several.items()}
    run = Run({query: ranking(draw) for query in several})
    for qrels in (several, single):
        found = evaluate(qrels, run, measures).per_query
        for query in qrels:
            recall, hit = ([found[f"{kind}@{k}"][query] for k in depths] for kind in ("R", "Success"))
            assert recall == sorted(recall)
            assert recall[-1] == 1.0
            assert all(r <= h for r, h in zip(recall, hit, strict=True))
            assert recall == hit or len(qrels[query]) > 1
    means = evaluate(several, run, measures).mean
    assert means["R@5"] < means["Success@5"]


def test_a_written_run_measures_what_it_did_in_memory(tmp_path):
    """Scores that differ in the seventh digit only: rounded ones would have another order and other measures."""
    draw, measures = random.Random(3), ["RR@10", "nDCG@10", "R@5"]
    rankings, qrels = {}, {}
    for query in map(str, range(40)):
        order = draw.sample(PASSAGES, 30)
        rankings[query] = [(passage, 70.0 + 1e-5 * (30 - rank)) for rank, passage in enumerate(order)]
        qrels[query] = {order[draw.randint(0, 9)]: 1, draw.choice(PASSAGES): 2}
    run = Run(rankings)
    write_run(tmp_path / "run.trec", run, "tag")
    whole = evaluate(qrels, run, measures)
    assert evaluate(qrels, tmp_path / "run.trec", measures) == whole
    assert evaluate(qrels, read_run(tmp_path / "run.trec"), measures) == whole
    rounded = {query: {passage: round(score, 3) for passage, score in hits} for query, hits in rankings.items()}
    assert evaluate(qrels, rounded, measures).mean["RR@10"] < whole.mean["RR@10"] - 0.05
