"""TREC files: round trips, the order of trec_eval, and every way a file can be wrong."""

import gzip
import random

import numpy as np
import pytest

from bmae_lightning.evaluation.measure.trec import (
    Run,
    read_qrels,
    read_rankings,
    read_run,
    run_of_lists,
    write_qrels,
    write_run,
)
from bmae_lightning.runtime.errors import BadInput


def random_rankings(seed, queries=20, passages=30):
    rng = random.Random(seed)
    names = [f"d{i}" for i in range(passages)]
    return {
        f"q{q}": {name: rng.choice([-2.0, -1.5, 0.0, 0.25, 200.0, 200.000001]) for name in rng.sample(names, 12)}
        for q in range(queries)
    }


def trec_order(scores):
    """score as float32 falling, then id falling: an independent spelling of trec_eval's rule"""
    names = sorted(scores, reverse=True)
    return sorted(names, key=lambda name: np.float32(scores[name]), reverse=True)  # stable, also under reverse


def test_dictionary_is_sorted_like_trec_eval():
    rankings = random_rankings(0)
    run = Run(rankings)
    assert list(run) == list(rankings)
    for query, scores in rankings.items():
        assert run.passages(query) == trec_order(scores)
        assert dict(run[query]) == scores


def test_list_keeps_its_order():
    run = Run({"q": [("a", 1.0), ("b", 1.0), ("c", 0.5)], "empty": []})
    assert run["q"] == [("a", 1.0), ("b", 1.0), ("c", 0.5)]
    assert run["empty"] == []
    assert "q" in run
    assert "z" not in run
    with pytest.raises(KeyError):
        run["z"]


@pytest.mark.parametrize("name", ["run.trec", "run.trec.gz"])
def test_round_trip_keeps_order_with_ties_and_close_scores(tmp_path, name):
    tied = {"q1": [("d9", 0.5), ("d10", 0.5), ("d5", 0.5)], "q2": [("b", 200.0), ("a", 200.000001)]}
    write_run(tmp_path / name, Run(tied), "my tag")
    assert [(q, read_run(tmp_path / name).passages(q)) for q in tied] == [
        ("q1", ["d9", "d10", "d5"]),
        ("q2", ["b", "a"]),
    ]
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_file_is_trec_with_falling_scores(tmp_path):
    write_run(tmp_path / "r", Run({"q": [("a", 7.5), ("b", 7.5)]}), "tag")
    assert (tmp_path / "r").read_text() == "q Q0 a 1 2 tag\nq Q0 b 2 1 tag\n"


def test_gzip_bytes_do_not_depend_on_time(tmp_path):
    for name in ("a.gz", "b.gz"):
        write_run(tmp_path / name, Run({"q": [("a", 1.0)]}), "t")
    assert (tmp_path / "a.gz").read_bytes() == (tmp_path / "b.gz").read_bytes()
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()) == b"q Q0 a 1 1 t\n"


def test_reading_ignores_the_rank_column_and_interleaved_queries(tmp_path):
    (tmp_path / "r").write_text("q Q0 d9 1 0.5 t\np Q0 x 1 1 t\nq\tQ0 d10 2 0.5 t\n\nq Q0 d5 3 0.90000000001 t\n")
    run = read_run(tmp_path / "r")
    assert run.passages("q") == ["d5", "d9", "d10"]
    assert run.passages("p") == ["x"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("q Q0 a 1 0.5 t\nq Q0 a\n", ["r:2", "3 columns"]),
        ("q Q0 a 1 high t\n", ["r:1", "'high'"]),
        ("q Q0 a 1 nan t\n", ["r:1", "'nan'"]),
        ("q Q0 a 1 2 t\np Q0 a 1 2 t\nq Q0 a 2 1 t\n", ["query q", "passage a", "twice"]),
    ],
)
def test_wrong_run_file_names_the_place(tmp_path, text, words):
    (tmp_path / "r").write_text(text)
    with pytest.raises(BadInput) as error:
        read_run(tmp_path / "r")
    assert all(word in str(error.value) for word in words)


def test_missing_and_damaged_files(tmp_path):
    (tmp_path / "r.gz").write_text("not gzip")
    for name in ("absent", "r.gz"):
        with pytest.raises(BadInput, match=name):
            read_run(tmp_path / name)


def test_failed_write_leaves_the_old_file(tmp_path):
    write_run(tmp_path / "r", Run({"q": [("a", 1.0)]}), "t")
    with pytest.raises(BadInput, match="white space"):
        write_run(tmp_path / "r", Run({"q": [("b", 1.0)], "two words": [("a", 1.0)]}), "t")
    assert [path.name for path in tmp_path.iterdir()] == ["r"]
    assert read_run(tmp_path / "r").passages("q") == ["a"]


def test_score_that_is_not_a_number_names_the_query():
    with pytest.raises(BadInput, match="query second"):
        Run({"first": [("a", 1.0)], "none": [], "second": [("a", float("nan"))]})


def test_rows_of_a_search_without_the_empty_ones():
    rows = np.array([[2, 0, -1], [1, -1, -1]])
    scores = np.array([[3.0, 2.0, -np.inf], [-1.0, -np.inf, -np.inf]], dtype=np.float32)
    run = Run.from_rows(["x", "y"], ["p0", "p1", "p2"], rows, scores)
    assert {query: run[query] for query in run} == {"x": [("p2", 3.0), ("p0", 2.0)], "y": [("p1", -1.0)]}


def test_cut():
    both = Run({"a": [("p", 3.0), ("q", 2.0), ("r", 1.5)], "c": [("s", 1.0)]})
    assert both.cut(2)["a"] == [("p", 3.0), ("q", 2.0)]
    assert both.cut(2)["c"] == [("s", 1.0)]


def test_qrels_round_trip_and_errors(tmp_path):
    qrels = {"q1": {"a": 1, "b": 0}, "q2": {"c": 3}}
    write_qrels(tmp_path / "q", qrels)
    assert (tmp_path / "q").read_text().splitlines()[0] == "q1 0 a 1"
    assert read_qrels(tmp_path / "q") == qrels
    for text, words in (("q 0 a\n", "q:1"), ("q 0 a high\n", "'high'"), ("q 0 a 1\nq 0 a 2\n", "q:2")):
        (tmp_path / "q").write_text(text)
        with pytest.raises(BadInput, match=words):
            read_qrels(tmp_path / "q")


@pytest.mark.parametrize(
    "text",
    [
        "q1 0 a 1\nq1 0 b 0\n\nq2 0 c 3\n",
        "q1\ta\t1\nq1\tb\t0\nq2\tc\t3\n",
        "query-id\tcorpus-id\tscore\nq1\ta\t1\nq1\tb\t0\nq2\tc\t3\n",
        "\ufeffquery-id\tcorpus-id\tscore\r\nq1\ta\t1\r\nq1\tb\t0\r\nq2\tc\t3\r\n",
    ],
)
def test_qrels_have_the_columns_of_trec_or_of_beir(tmp_path, text):
    (tmp_path / "q").write_text(text, encoding="utf-8", newline="")
    assert read_qrels(tmp_path / "q") == {"q1": {"a": 1, "b": 0}, "q2": {"c": 3}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "q 0 a 1 x\n",
            "q:1: has 5 columns; a line of this file is query 0 passage grade or query-id<tab>corpus-id<tab>score or "
            "query<tab>passage.",
        ),
        ("q 0 a 1\nq b 1\n", "q:2: has 3 columns; a line of this file is query 0 passage grade."),
        (
            "query-id\tcorpus-id\tscore\nq a 1\nq 0 a 1\n",
            "q:3: has 4 columns; a line of this file is query-id<tab>corpus-id<tab>score.",
        ),
        (
            "q\ta\t1\nquery-id\tcorpus-id\tscore\n",
            "q:2: the score 'score' is not an integer; write 1 for relevant, 0 for not relevant, or a grade.",
        ),
    ],
)
def test_qrels_with_other_columns(tmp_path, text, message):
    (tmp_path / "q").write_text(text)
    with pytest.raises(BadInput) as error:
        read_qrels(tmp_path / "q")
    assert str(error.value).endswith(message)


def test_the_rankings_of_some_queries(tmp_path):
    rankings = random_rankings(4)
    lines = [f"{q} Q0 {p} 1 {score!r} t\n" for q, scores in rankings.items() for p, score in scores.items()]
    (tmp_path / "r").write_text("".join(lines))
    run = read_run(tmp_path / "r")
    assert run.depth == 12
    found = read_rankings(tmp_path / "r", {"q3", "q11", "absent"})
    assert found == {q: run.passages(q) for q in ("q3", "q11")}


def test_lists_become_a_run():
    run = run_of_lists([("b", ["p2", "p1"]), ("a", []), ("c", ["p1"])])
    assert dict(run) == {"b": [("p2", 2.0), ("p1", 1.0)], "a": [], "c": [("p1", 1.0)]}
    assert len(run_of_lists([])) == 0


def test_of_identical_ids_only_the_query_itself_is_removed():
    run = Run({"a": [("b", 3.0), ("a", 2.0), ("c", 2.0)], "b": [("a", 1.0)], "c": [("c", 1.0)], "d": []})
    found = run.without_identical()
    assert dict(found) == {"a": [("b", 3.0), ("c", 2.0)], "b": [("a", 1.0)], "c": [], "d": []}
    assert run["a"][1] == ("a", 2.0)
