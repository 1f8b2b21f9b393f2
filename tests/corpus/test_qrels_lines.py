"""Judgments in the columns of MS MARCO, BEIR and TREC, read alike by a collection and by `evaluate`."""

import gzip

import pytest

from bmae_lightning.corpus.qrels_lines import qrels_of
from bmae_lightning.evaluation.measure.trec import read_qrels
from bmae_lightning.runtime.errors import BadInput

FORMS = {
    "trec": "q1 0 a 1\nq1 0 b 1\nq2 0 c 1\n",
    "trec, tabs": "q1\t0\ta\t1\nq1\t0\tb\t1\n\nq2\t0\tc\t1\t\n",
    "trec, tabs and blanks": "q1 0\ta\t1\nq1 0\tb\t1\nq2 0\tc\t1\n",
    "beir": "query-id\tcorpus-id\tscore\nq1\ta\t1\nq1\tb\t1\nq2\tc\t1\n",
    "beir, no heading": "q1\ta\t1\nq1\tb\t1\nq2\tc\t+1\n",
    "beir, another heading": "topic docid score\r\nq1 a 1\r\nq1 b 1\r\nq2 c 1\r\n",
    "pairs": "q1\ta\nq1\tb\nq2\tc\n",
    "pairs, heading": "query-id\tcorpus-id\nq1\ta\nq1\tb\nq2\tc\n",
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("name", ["qrels", "qrels.gz"])
def test_a_collection_and_evaluate_read_the_same(tmp_path, form, name):
    path = tmp_path / name
    content = FORMS[form].encode("utf-8-sig")
    path.write_bytes(gzip.compress(content) if name.endswith(".gz") else content)
    assert [*qrels_of(path)] == [("q1", "a", 1), ("q1", "b", 1), ("q2", "c", 1)]
    assert read_qrels(path) == {"q1": {"a": 1, "b": 1}, "q2": {"c": 1}}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a\n", "qrels:1: has 1 columns; .* query 0 passage grade or query-id<tab>.* or query<tab>passage"),
        ("q\ta\nq\tb\t1\n", "qrels:2: has 3 columns; a line of this file is query<tab>passage"),
        ("q\ta\t1\nq\t\t1\n", "qrels:2: has an empty column"),
        ("q\ta\t1.5\n", "qrels:1: the score '1.5' is not an integer"),
    ],
)
def test_both_name_the_line_that_is_wrong(tmp_path, text, message):
    (tmp_path / "qrels").write_text(text)
    for read in (read_qrels, lambda path: [*qrels_of(path)]):
        with pytest.raises(BadInput, match=message):
            read(tmp_path / "qrels")


def test_a_collection_may_allow_some_forms_only(tmp_path):
    (tmp_path / "qrels").write_text("q\ta\n")
    with pytest.raises(BadInput, match="has 2 columns; a line of this file is query-id<tab>corpus-id<tab>score"):
        list(qrels_of(tmp_path / "qrels", (3,)))
