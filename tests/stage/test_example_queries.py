"""Cases: which queries are shown, and what of them."""

import json
from types import SimpleNamespace

from bmae_lightning.evaluation.measure.trec import Run, write_run
from bmae_lightning.report.content import Answer, Place
from bmae_lightning.stage.example_queries import choose, excerpt, find_cases, wanted

LONG = "word " * 200


def test_queries_where_arms_differ_most_come_first():
    values = {
        "a": {f"q{i}": 0.0 for i in range(50)} | {"q7": 1.0, "q3": 0.5, "q9": 0.2},
        "b": {f"q{i}": 0.0 for i in range(49)},
    }
    chosen = choose(values, 5)
    assert list(chosen)[:3] == ["q7", "q3", "q9"]
    assert list(chosen.values()) == ["arms differ most"] * 3 + ["drawn at random"] * 2
    assert "q49" not in choose(values, 50)
    assert len(choose(values, 90)) == 49
    assert choose(values, 5) == chosen == choose({arm: dict(reversed(of.items())) for arm, of in values.items()}, 5)
    assert list(choose(values, 1)) == ["q7"]
    assert set(choose({"a": values["a"]}, 4).values()) == {"drawn at random"}
    assert choose(values, 0) == choose({}, 3) == {}


def test_equal_differences_are_drawn_from_all_queries():
    values = {"a": {f"q{i:03}": 1.0 for i in range(400)}, "b": {f"q{i:03}": 0.0 for i in range(400)}}
    assert max(choose(values, 10)) > "q200"


def test_passages_of_all_arms(tmp_path):
    qrels = {"q1": {"good": 2, "bad": 0}, "q2": {"good": 1}, "q3": {"good": 1}}
    rankings = {
        "bm25": {"q1": ["bad"], "q2": ["other"]},
        "none": {"q1": ["good", "bad"], "q2": ["other", "good"], "q3": ["good"]},
        "retromae": {"q1": ["good"], "q2": ["other", "good"], "q3": ["good"]},
    }
    values = {"bm25": [0.0, 0.0, 0.0], "none": [1.0, 0.5, 1.0], "retromae": [1.0, 0.5, 1.0]}
    for arm, ranked in rankings.items():
        (tmp_path / arm).mkdir()
        run = Run({query: [(passage, 0.0) for passage in found] for query, found in ranked.items()})
        write_run(tmp_path / arm / "run.test.trec", run, "t")
        kept = {"RR@10": dict(zip(qrels, values[arm], strict=True))}
        (tmp_path / arm / "per_query.test.json").write_text(json.dumps(kept))
    texts = {"good": LONG, "bad": "a  bad\none", "other": "another", "unseen": "x"}
    prepared = SimpleNamespace(
        qrels=lambda split: qrels,
        query_texts=lambda ids: {query: f"what is {query}?" for query in ids},
        passage_texts=lambda ids: {name: texts[name] for name in ids},
    )
    arms = {arm: tmp_path / arm for arm in rankings}
    cases = {case.query: case for case in find_cases(prepared, arms, "test", "RR@10", 6)}
    assert set(cases) == {"q1", "q2", "q3"}
    assert cases["q1"].text == "what is q1?"
    assert cases["q1"].measure == "RR@10"
    bad, good = cases["q1"].answers
    assert bad == Answer({"bm25": 0.0}, "bad", "a bad one", 0)
    assert (good.values, good.relevance) == ({"none": 1.0, "retromae": 1.0}, 2)
    assert good.text.endswith("word …")
    assert len(good.text) <= 302
    assert [(answer.passage, answer.relevance) for answer in cases["q2"].answers] == [("other", None), ("good", 1)]
    assert cases["q2"].answers[1].values == {}, "a relevant passage that no arm ranks first"
    assert cases["q3"].answers[0] == Answer({"bm25": 0.0}, "", "", None), "BM25 found nothing"
    assert good.places == {"bm25": Place(None, 1), "none": Place(1, 2), "retromae": Place(1, 1)}
    assert cases["q2"].answers[1].places == {"bm25": Place(None, 1), "none": Place(2, 2), "retromae": Place(2, 2)}
    assert cases["q3"].answers[1].places["bm25"] == Place(None, 0)
    assert not bad.places
    assert not cases["q2"].answers[0].places


def test_the_passage_that_should_have_been_found_is_a_most_relevant_one_where_it_ranks_highest():
    judged, rankings = {"p1": 1, "p2": 2, "p3": 2, "p4": 2}, {"a": ["p1", "x", "p3"], "b": ["p4", "p2"], "c": []}
    assert wanted(judged, rankings) == ("p4", {"a": Place(None, 3), "b": Place(1, 2), "c": Place(None, 0)})
    assert wanted(judged, {"a": ["p1"]}) == ("p2", {"a": Place(None, 1)})
    assert wanted({"p1": 1, "p2": 0}, rankings)[1]["a"] == Place(1, 3)


def test_texts_are_cut_between_words_where_there_are_any():
    assert excerpt("a \n b\tc", 5) == "a b c"
    assert excerpt("one two three", 9) == "one two …"
    assert excerpt("x" * 20, 9) == "x" * 9 + " …"
    assert excerpt("a " + "x" * 20, 9) == "a " + "x" * 7 + " …"
