"""Runs of other systems: every form of one ranking is the same run, and a form that cannot be told is refused."""

import gzip

import pytest

from bmae_lightning.evaluation.measure.run_files import open_run
from bmae_lightning.runtime.errors import BadInput

RANKED = {"q1": ["d2", "d1", "d7"], "q2": ["d4"], "q3": ["dX", "d3"]}
LINES = [(query, passage, place + 1) for query, found in RANKED.items() for place, passage in enumerate(found)]
SCORES = {"d2": 0.9, "d1": 0.25, "d7": -3.5, "d4": 12.0, "dX": 7.0, "d3": 7.0}


def rows(*columns, lines=LINES, end="\n"):
    """Lines of the named columns."""
    known = {"Q0": lambda *_: "Q0", "tag": lambda *_: "t", "qid": lambda q, d, r: q, "docid": lambda q, d, r: d}
    known |= {"rank": lambda q, d, r: str(r), "score": lambda q, d, r: str(SCORES[d])}
    known |= {"falling": lambda q, d, r: str(10 - r), "negative": lambda q, d, r: str(-r)}
    return "".join("\t".join(known[column](*line) for column in columns) + end for line in lines)


def through(lines, start=0):
    """The same with ranks that go on from query to query."""
    return [(q, d, start + i) for i, (q, d, _) in enumerate(lines)]


FORMS = {
    "trec": rows("qid", "Q0", "docid", "rank", "score", "tag"),
    "trec, heading": "query_id iter docid rank score tag\n" + rows("qid", "Q0", "docid", "rank", "score", "tag"),
    "ranks": rows("qid", "docid", "rank"),
    "ranks, heading": "qid\tpid\trank\n" + rows("qid", "docid", "rank"),
    "ranks, CRLF": rows("qid", "docid", "rank", end="\r\n"),
    "ranks, blanks and empty lines": rows("qid", "docid", "rank", end="\n\n").replace("\t", "  "),
    "ranks from 0": rows("qid", "docid", "rank", lines=[(q, d, r - 1) for q, d, r in LINES]),
    "ranks over all queries": rows("qid", "docid", "rank", lines=through(LINES, 1)),
    "ranks with gaps, queries mixed": rows(
        "qid", "docid", "rank", lines=sorted(((q, d, 3 * r) for q, d, r in LINES), key=lambda line: line[2])
    ),
    "ranks in any order, heading": "qid pid rank\n" + rows("qid", "docid", "rank", lines=LINES[::-1]),
    "scores": rows("qid", "docid", "score"),
    "scores in any order": rows("qid", "docid", "score", lines=[*LINES[1:], LINES[0]]),
    "whole scores": rows("qid", "docid", "falling"),
    "whole scores in any order, heading": "Query-ID doc sim\n" + rows("qid", "docid", "falling", lines=LINES[::-1]),
    "scores below 0": rows("qid", "docid", "negative"),
    "ranks and scores": rows("qid", "docid", "rank", "score"),
    "ranks and scores in any order": rows("qid", "docid", "rank", "score", lines=LINES[::-1]),
}  # fmt: skip


@pytest.mark.parametrize("name", ["run.tsv", "run.tsv.gz"])
@pytest.mark.parametrize("form", FORMS)
def test_all_forms_are_one_run(tmp_path, form, name):
    content = FORMS[form].encode("utf-8-sig")
    (tmp_path / name).write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    run = open_run(tmp_path / name)
    assert {query: run.passages(query) for query in run} == RANKED


@pytest.mark.parametrize("columns", [("qid", "docid", "score"), ("qid", "docid", "rank", "score")])
def test_scores_of_a_file_are_those_of_the_run(tmp_path, columns):
    (tmp_path / "run").write_text(rows(*columns))
    run = open_run(tmp_path / "run")
    assert dict(run["q1"]) == {"d2": 0.9, "d1": 0.25, "d7": -3.5}


@pytest.mark.parametrize(
    ("text", "third", "best"),
    [
        ("q a 1\nq b 3\nq c 2\n", "rank", "acb"),
        ("q a 1\nq b 3\nq c 2\n", "score", "bca"),
        ("q a 3\nq b 2\nq c 1\n", None, "abc"),
        ("q a 3\nq b 2\nq c 1\n", "rank", "cba"),
        ("q a .1\nq b .2\n", "score", "ba"),
    ],
)
def test_what_the_third_column_is_may_be_said(tmp_path, text, third, best):
    (tmp_path / "run").write_text(text)
    assert "".join(open_run(tmp_path / "run", third).passages("q")) == best


@pytest.mark.parametrize(
    ("text", "third", "message"),
    [
        ("q a 1\nq b 3\nq c 2\n", None, r"run:2: the third column rises here, as a rank does, and falls elsewhere, as"),
        ("q a 1\nq b 2\np a 2\np b 1\n", None, r"run:2: .* say which it is, 'run=\[{path: .*, third: rank}\]' or"),
        ("q a 0.1\nq b 0.2\n", None, "run:2: the third column rises here, as a rank does, and has fractions"),
        ("q a 1\nq b 1\nq c 2\n", None, "run:2: query q has rank 1 twice; give every passage a rank of its own"),
        ("q a 1\nq b 2.5\n", "rank", "run:2: the rank 2.5 is not a whole number"),
        ("q a 0.5 3\n", None, "run:1: the rank 0.5 is not a whole number"),
        ("q a 1 2.0\nq b 2 3.0\n", None, "run: the score rises from rank to rank, at rank 2 of query q; leave out"),
        ("q a first\n", None, "run:1: the rank or score 'first' is not a finite number"),
        ("q a 1\nq b nan\n", None, "run:2: the rank or score 'nan' is not a finite number"),
        ("qid pid rank\nq a 1\nqid pid rank\n", None, "run:3: the rank or score 'rank' is not a finite number"),
        ("q a 1\nq Q0 b 2 3 t\n", None, r"run:2: 6 columns; a line of this file is qid docid rank \(or score\)"),
        ("q Q0 b 2 3 t\n\nq a 1\n", None, "run:3: 3 columns where `qid Q0 docid rank score tag` is expected"),
        ("q a\n", None, "run:1: 2 columns where .*; pairs are judgments, which qrels= takes"),
        ("\nq a b c d\n", None, "run:2: 5 columns where `qid Q0 docid rank score tag` or `qid docid rank score` or"),
        ("q a 1\nq a 2\n", None, "run: query q lists passage a twice"),
        ("q a 1 2\n", "rank", "run: third: rank is said of files of three columns; leave it out"),
    ],
)
def test_what_is_refused_names_file_and_line(tmp_path, text, third, message):
    (tmp_path / "run").write_text(text)
    with pytest.raises(BadInput, match=message) as error:
        open_run(tmp_path / "run", third)
    assert "\n" not in str(error.value)


def test_an_empty_file_is_an_empty_run(tmp_path):
    (tmp_path / "run").write_text("\n")
    assert len(open_run(tmp_path / "run")) == 0
