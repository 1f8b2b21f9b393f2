"""Passages and queries of a file, one a line, and which line is wrong."""

import json

import pytest

from bmae_lightning.corpus.json_lines import json_passages, json_queries, tab_passages, tab_queries
from bmae_lightning.corpus.records import Passage, Query, Rules
from bmae_lightning.runtime.errors import BadInput

RULES = Rules()


def write(path, *records):
    path.write_text("".join(f"{record if isinstance(record, str) else json.dumps(record)}\n" for record in records))
    return path


def test_json_passages_have_a_place_in_their_document(tmp_path):
    path = write(
        tmp_path / "a.jsonl",
        {"_id": "1", "title": "T", "text": " x ", "metadata": {"doc_id": 7, "position": 3}},
        {"id": 2, "contents": "y", "metadata": "none"},
        {"_id": "3", "text": "z", "metadata": {"doc_id": "d", "position": "3"}},
    )
    assert [*json_passages(path, RULES)] == [
        Passage("1", "T", "x", "7", 3), Passage("2", "", "y", None, None), Passage("3", "", "z", "d", None),
    ]  # fmt: skip


def test_json_queries(tmp_path):
    path = write(tmp_path / "q.jsonl", {"_id": "a", "text": "one"}, {"id": 2, "text": " two\n"})
    assert [*json_queries(path)] == [Query("a", "one"), Query("2", "two")]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"docid": "1", "text": "x"}, r"a:2: has no \"_id\" \(is 'docid' meant\?\); give every record a unique string"),
        ({"text": "x"}, r"a:2: has no \"_id\"; give"),
        ({"_id": 1.5, "text": "x"}, r"a:2: \"_id\" is the float 1.5; make it a string"),
        ({"_id": True, "text": "x"}, r"a:2: \"_id\" is the bool True"),
        ({"_id": "1"}, "a:2: record '1' has no \"text\"; give it a string"),
        ({"_id": "1", "text": None, "title": "x"}, "a:2: record '1' has no \"text\""),
        ({"_id": "1", "text": ["x"]}, r"a:2: record '1' has the list \['x'\] as \"text\""),
        ({"_id": "1", "text": "x", "title": 3}, r"a:2: \"title\" of '1' is a int"),
        ({"_id": "1 2", "text": "x"}, "a:2: the id '1 2' is empty or holds white space"),
        ("{", "a:2: not JSON"),
    ],
)
def test_the_line_and_what_is_wrong_with_it_are_named(tmp_path, record, message):
    path = write(tmp_path / "a", {"_id": "0", "text": "x"}, record)
    with pytest.raises(BadInput, match=message):
        list(json_passages(path, RULES))


def test_columns_have_names(tmp_path):
    path = write(tmp_path / "p.tsv", "1\thttp://x\tT\tone", "2\thttp://y\t-\ttwo")
    columns = ("id", "url", "title", "text")
    assert [*tab_passages(path, columns, RULES, None, "-")] == [
        Passage("1", "T", "one", None, None), Passage("2", "", "two", None, None),
    ]  # fmt: skip
    with pytest.raises(BadInput, match=r"p.tsv:1: has 4 tab-separated columns, id<tab>text has 2; .*corpus.columns="):
        list(tab_passages(path, ("id", "text"), RULES, None, ""))


def test_titles_come_from_a_file_in_the_same_order(tmp_path):
    path = write(tmp_path / "p.tsv", "1\tone", "12\ttwo", "3\tthree")
    titles = write(tmp_path / "t.tsv", "1\tA", "3\t-")
    found = [*tab_passages(path, ("id", "text"), RULES, titles, "-")]
    assert [(passage.id, passage.title) for passage in found] == [("1", "A"), ("12", ""), ("3", "")]
    write(titles, "3\tC", "1\tA")
    with pytest.raises(BadInput, match="t.tsv:2: the title of '1' belongs to no passage of p.tsv after the one before"):
        list(tab_passages(path, ("id", "text"), RULES, titles, "-"))


def test_queries_in_two_columns(tmp_path):
    assert [*tab_queries(write(tmp_path / "q.tsv", "a\tone", "b\ttwo"))] == [Query("a", "one"), Query("b", "two")]
    with pytest.raises(BadInput, match="q.tsv:1: has 1 tab-separated columns, id<tab>text has 2; correct the line."):
        list(tab_queries(write(tmp_path / "q.tsv", "a one")))
