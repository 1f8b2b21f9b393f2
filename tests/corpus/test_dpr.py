"""DPR's files in their true format, and every way in which they can be broken."""

import json
import re

import pytest
from support.dpr_files import ARTICLES, QUESTIONS, TRAIN, passages, write_dpr

from bmae_lightning.corpus.doctor import examine
from bmae_lightning.corpus.document_order import DocumentOrder
from bmae_lightning.corpus.dpr import DprCorpus
from bmae_lightning.corpus.records import Counts, Judgment, Query
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import BadInput


@pytest.fixture
def folder(tmp_path):
    return write_dpr(tmp_path / "nq")


@pytest.mark.parametrize("zipped", [False, True])
def test_everything_is_read(tmp_path, zipped):
    corpus = DprCorpus(str(write_dpr(tmp_path / "nq", zipped)))
    assert [(p.id, p.text, p.title) for p in corpus.passages()] == passages()
    assert corpus.splits() == ["train", "dev", "test"]
    queries = list(corpus.queries())
    assert queries[0] == Query("train-1", "who was the brother of moses")
    assert Query("train-5", "what's the capital of france") in queries, "the typographic apostrophe is replaced"
    assert "train-3" not in {query.id for query in queries}, "a question without a positive cannot be trained with"
    assert [query.id for query in queries if query.id.startswith("test")] == ["test-1", "test-2", "test-3", "test-4"]
    judged = list(corpus.judgments("train"))
    assert judged[:3] == [Judgment("train-1", "1", 1), Judgment("train-1", "2", 1), Judgment("train-2", "4", 1)]
    assert list(corpus.judgments("test")) == []
    assert dict(corpus.answers("train"))["train-6"] == ("Washington", "The City of Washington")
    assert list(corpus.answers("test")) == [(f"test-{i}", tuple(a)) for i, (_, a) in enumerate(QUESTIONS["test"], 1)]
    assert dict(corpus.negatives("train")) == {
        f"train-{i}": tuple(map(str, hard)) for i, (_, _, positives, hard) in enumerate(TRAIN, 1) if positives
    }
    assert list(corpus.negatives("dev")) == []


def test_check_counts(folder):
    words = sum(len(f"{text} {title}".split()) for title, texts in ARTICLES.items() for text in texts)
    assert DprCorpus(str(folder)).check() == Counts(10, 11, {"train": 6, "dev": 0, "test": 0}, words)
    assert DprCorpus(str(folder), splits=["test"]).check()[:3] == (10, 4, {"test": 0})


def test_options(folder):
    corpus = DprCorpus(str(folder), title="drop", ascii_apostrophes=False, splits=["train"])
    assert {p.title for p in corpus.passages()} == {""}
    assert "what\u2019s the capital of france" in [query.text for query in corpus.queries()]
    again = build(json.loads(json.dumps(corpus.node())), "corpus")
    assert again.options() == corpus.options()
    assert [path.name for path in corpus.files()] == ["psgs_w100.tsv", "biencoder-nq-train.json"]
    alone = DprCorpus(str(folder), splits=[])
    assert [path.name for path in alone.files()] == ["psgs_w100.tsv"]
    assert alone.check()[:3] == (10, 0, {})
    for wrong in ({"title": "x"}, {"splits": ["tets"]}):
        with pytest.raises(ValueError):
            DprCorpus(str(folder), **wrong)


def test_blocks_of_an_article_are_neighbours(folder):
    order, corpus = DocumentOrder(), DprCorpus(str(folder))
    corpus.check(order.note)
    assert order.order().next.tolist() == [1, 2, -1, 4, -1, -1, 7, -1, 9, -1]
    assert corpus.has_documents()


def test_the_dev_part_of_the_training_files_takes_the_place_of_missing_answers(folder):
    (folder / "nq-dev.qa.csv").unlink()
    (folder / "biencoder-nq-train.json").rename(folder / "biencoder-nq-dev.json")
    corpus = DprCorpus(str(folder))
    assert corpus.splits() == ["dev", "test"]
    assert corpus.check().judgments == {"dev": 6, "test": 0}
    assert dict(corpus.answers("dev"))["dev-2"] == ("Wilhelm Conrad Röntgen",)


def replace(name, old, new, count=1):
    def change(folder):
        path = folder / name
        content = path.read_text(encoding="utf-8")
        assert old in content
        path.write_text(content.replace(old, new, count), encoding="utf-8")

    return change


def records(change):
    def rewrite(folder):
        path = folder / "biencoder-nq-train.json"
        found = json.loads(path.read_text())
        change(found)
        path.write_text(json.dumps(found, indent=4))

    return rewrite


def shifted(found):
    for record in found:
        for context in record["positive_ctxs"]:
            context["passage_id"] = str(int(context["passage_id"]) % 10 + 1)


TSV, TEST, JSON = "psgs_w100.tsv", "nq-test.qa.csv", "biencoder-nq-train.json"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: (f / TSV).unlink(), r"psgs_w100\.tsv \(or \.gz\) is missing; the directory needs .*DPR"),
        (lambda f: [path.unlink() for path in f.glob("*nq*")],
         r"has no biencoder-nq-train\.json, nq-dev\.qa\.csv or .*DPR"),
        (replace(TSV, "id\ttext\ttitle\n", ""), r"psgs_w100\.tsv:1: the header id<tab>text<tab>title is missing"),
        (replace(TSV, "\tAaron\n", "\n", 3),
         r"psgs_w100\.tsv:2: has 2 tab-separated columns instead of 3.*2 more such"),
        (replace(TSV, "Each recipient", "Each\trecipient"),
         r"psgs_w100\.tsv:6: has 4 tab-separated columns instead of 3"),
        (replace(TSV, '."\tAaron', ".\tAaron"), r"psgs_w100\.tsv:2: has 2 tab-separated columns"),
        (replace(TSV, "\n3\t", "\n2\t"), r"psgs_w100\.tsv:4: id '2' was used before"),
        (replace(TSV, "\n3\t", "\n\t"), r"psgs_w100\.tsv:4: the id '' is empty"),
        (replace(TSV, "Each recipient receives a medal", "x"), None),
        (replace(TSV, passages()[4][1] + "\tNobel Prize in Physics", " \t "),
         r"psgs_w100\.tsv:6: passage '5' has no text"),
        (lambda f: (f / TSV).write_text("id\ttext\ttitle\n"), r"psgs_w100\.tsv is empty"),
        (lambda f: (f / TSV).write_bytes((f / TSV).read_bytes().replace(b"\xc3\xa4", b"\xe4")), r"tsv:2: byte .*UTF-8"),
        (replace(TEST, "['Aaron']", "Aaron"), r"nq-test\.qa\.csv:3: the answers 'Aaron' are no list of strings; write"),
        (replace(TEST, "['Aaron']", "__import__('os').abort()"), r"nq-test\.qa\.csv:3: the answers .* are no list"),
        (replace(TEST, "['Aaron']", "['Aaron"), r"nq-test\.qa\.csv:3: the answers .* are no list of strings"),
        (replace(TEST, "['Aaron']", "'Aaron'"), r"nq-test\.qa\.csv:3: the question has the answers 'Aaron', no list"),
        (replace(TEST, "['Aaron']", "[7]"), r"nq-test\.qa\.csv:3: the question has the answers .*no list of texts"),
        (replace(TEST, "['Aaron']", "[]"),
         r"nq-test\.qa\.csv:3: the question has no answers: nothing could be measured"),
        (replace(TEST, "\t['Aaron']", ""),
         r"nq-test\.qa\.csv:3: has 1 tab-separated columns instead of 2 \(question, list"),
        (replace(TEST, "\t['Aaron']", "\tx\t['Aaron']"), r"nq-test\.qa\.csv:3: has 3 tab-separated columns"),
        (lambda f: (f / TEST).write_text(""), r"nq-test\.qa\.csv is empty"),
        (records(lambda r: r[1].pop("answers")), r"train\.json:\d+: the question has no answers"),
        (records(lambda r: r[1].pop("hard_negative_ctxs")),
         r"train\.json:\d+: the question has no list 'hard_negative_ctxs'"),
        (records(lambda r: r[1].update(question=" ")), r"train\.json:\d+: the question has no text"),
        (records(lambda r: r[1].update(question="\ud800")), r"train\.json:\d+: the question has no text"),
        (records(lambda r: r[1]["positive_ctxs"][0].pop("passage_id")),
         r"json:\d+: a passage of positive_ctxs has no passage_id"),
        (records(lambda r: r[1]["hard_negative_ctxs"][0].update(passage_id="99")),
         r"json:\d+: the hard negative '99' is not in psgs"),
        (records(lambda r: r[1]["positive_ctxs"][0].update(passage_id=99)),
         r"json:\d+: '99' is not an id of psgs_w100\.tsv"),
        (records(shifted), r"5 of 5 positive passages looked at have another text .* counts passages from 0"),
        (records(lambda r: r.clear()), r"train\.json is empty"),
    ],
)  # fmt: skip
def test_bad_files(folder, change, message):
    change(folder)
    if message is None:
        DprCorpus(str(folder)).check()
        return
    with pytest.raises(BadInput, match=message) as caught:
        DprCorpus(str(folder)).check()
    assert "\n" not in str(caught.value)


def test_the_doctor_counts_questions_with_answers(folder, tmp_path):
    expected = {"passages": 10, "splits": {"train": {"queries": 5}, "test": {"queries": 3610}}}
    found = {f.what: (f.found, f.published, f.grade) for f in examine(DprCorpus(str(folder)), expected, 3072, tmp_path)}
    assert found["passages"] == (10, 10, "ok")
    assert found["train: judged queries"] == (5, 5, "ok")
    assert found["test: queries with answers"] == (4, 3610, "ERROR")
    replace(TEST, "['Aaron']", "Aaron")(folder)
    assert "broken: answers" in [finding.what for finding in examine(DprCorpus(str(folder)), {}, 3072, tmp_path)]


def test_lines_of_questions_are_those_of_the_file(folder):
    lines = (folder / JSON).read_text().splitlines()
    records(lambda found: found[3].pop("answers"))(folder)
    with pytest.raises(BadInput) as caught:
        list(DprCorpus(str(folder)).queries())
    line = int(re.search(r"json:(\d+):", str(caught.value)).group(1))
    assert lines[line - 1].strip() == "{"
    assert "sings the 2015 song" in lines[line + 1]


def test_a_requested_split_without_its_file(folder):
    (folder / JSON).unlink()
    with pytest.raises(BadInput, match=r"has no biencoder-nq-train\.json"):
        DprCorpus(str(folder), splits=["train", "test"]).splits()
