"""Questions of DPR's two formats: what is kept of them, and what is said of a broken one."""

import json

import pytest

from bmae_lightning.corpus.dpr_questions import Asked, Question, has_passages, questions_of
from bmae_lightning.runtime.errors import BadInput


def record(question="who?", answers=("he",), positives=({"passage_id": "7", "text": "it"},), negatives=()):
    return {
        "question": question, "answers": list(answers), "positive_ctxs": list(positives),
        "hard_negative_ctxs": list(negatives),
    }  # fmt: skip


def read(path, content, split="train", ascii_apostrophes=True):
    path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    return [*questions_of(path, split, ascii_apostrophes)]


def test_the_name_tells_whether_there_are_passages(tmp_path):
    assert has_passages(tmp_path / "biencoder-nq-train.json.gz")
    assert not has_passages(tmp_path / "nq-dev.qa.csv")


def test_lines_with_answers(tmp_path):
    found = read(tmp_path / "nq-test.qa.csv", "who\u2019s he?\t['a', \"b's\"]\n\nwhen\t['1']\n", "test")
    assert found == [
        Asked(Question("test-1", "who's he?", ("a", "b's"), ()), "", ()),
        Asked(Question("test-3", "when", ("1",), ()), "", ()),
    ]  # fmt: skip
    kept = read(tmp_path / "nq-test.qa.csv", "who\u2019s he?\t['a']\n", "test", ascii_apostrophes=False)
    assert kept[0].question.text == "who\u2019s he?"


def test_records_with_passages_each_id_once_and_numbered_with_those_left_out(tmp_path):
    positives = [{"passage_id": "7", "text": "seven"}, {"psg_id": 8, "text": "eight"}, {"passage_id": "7", "text": "x"}]
    content = [record(positives=[]), record(positives=positives, negatives=[{"psg_id": "3"}])]
    (found,) = read(tmp_path / "a.json", content)
    assert found == Asked(Question("train-2", "who?", ("he",), ("7", "8")), "seven", ("3",))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("who\tParis\n", r"a.qa.csv:1: the answers 'Paris' are no list of strings; write them as \['Paris'"),
        ("who\t[]\n", "a.qa.csv:1: the question has no answers"),
        ("who\t['']\n", r"a.qa.csv:1: the question has the answers \"\[''\]\", no list of texts"),
        (" \t['a']\n", "a.qa.csv:1: the question has no text"),
        ("who\n", "a.qa.csv:1: has 1 tab-separated columns instead of 2"),
    ],
)
def test_a_broken_line_is_named(tmp_path, content, message):
    with pytest.raises(BadInput, match=message):
        read(tmp_path / "a.qa.csv", content)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (record(question=None), "a.json:1: the question has no text"),
        (record(answers=[3]), r"a.json:1: the question has the answers '\[3\]', no list of texts"),
        (record(positives=[{"text": "x"}]), "a.json:1: a passage of positive_ctxs has no passage_id or psg_id"),
        (record() | {"hard_negative_ctxs": None}, "a.json:1: the question has no list 'hard_negative_ctxs'"),
    ],
)
def test_a_broken_record_is_named(tmp_path, content, message):
    with pytest.raises(BadInput, match=message):
        read(tmp_path / "a.json", [content])
