import gzip
import json
import shutil
from pathlib import Path

import pytest
from support.paths import SHARED

from bmae_lightning.corpus.beir import BeirCorpus
from bmae_lightning.corpus.records import Counts, Judgment, Passage, Query
from bmae_lightning.runtime.errors import BadInput

CORPUS = [
    {"_id": "p1", "title": "Moon", "text": "The first men on it.", "metadata": {"doc_id": "d", "position": 0}},
    {"_id": "p2", "title": "", "text": "Saturn rockets.", "metadata": {"doc_id": 7, "position": "x"}},
    {"_id": 3, "text": "Third passage text"},
]
QUERIES = [{"_id": "q1", "text": "who was first?"}, {"_id": "q2", "text": "which rocket?"}]
QRELS = {"train": "query-id\tcorpus-id\tscore\nq1\tp1\t1\nq1\t3\t0\n", "test": "q2\tp2\t2\n"}


def jsonl(records) -> bytes:
    return "".join(json.dumps(r) + "\n" for r in records).encode()


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "qrels").mkdir()
    (tmp_path / "corpus.jsonl").write_bytes(jsonl(CORPUS))
    (tmp_path / "queries.jsonl").write_bytes(jsonl(QUERIES))
    for split, lines in QRELS.items():
        (tmp_path / "qrels" / f"{split}.tsv").write_text(lines)
    return tmp_path


def zip_all(folder: Path) -> None:
    for path in list(folder.rglob("*.*")):
        path.with_name(path.name + ".gz").write_bytes(gzip.compress(path.read_bytes()))
        path.unlink()


@pytest.mark.parametrize("zipped", [False, True])
def test_reads_everything(folder, zipped):
    if zipped:
        zip_all(folder)
    corpus = BeirCorpus(str(folder))
    assert list(corpus.passages()) == [
        Passage("p1", "Moon", "The first men on it.", "d", 0),
        Passage("p2", "", "Saturn rockets.", "7", None),
        Passage("3", "", "Third passage text", None, None),
    ]
    assert list(corpus.queries()) == [Query("q1", "who was first?"), Query("q2", "which rocket?")]
    assert corpus.splits() == ["train", "test"]
    assert list(corpus.judgments("train")) == [Judgment("q1", "p1", 1), Judgment("q1", "3", 0)]
    assert list(corpus.judgments("test")) == [Judgment("q2", "p2", 2)]
    assert corpus.check() == Counts(passages=3, queries=2, judgments={"train": 2, "test": 1}, words=11)


def test_titles_can_be_dropped(folder):
    assert [p.title for p in BeirCorpus(str(folder), title="drop").passages()] == ["", "", ""]
    with pytest.raises(ValueError, match="title must be one of prepend, pair, drop, got 'keep'"):
        BeirCorpus(str(folder), title="keep")


def test_a_title_alone_is_text_only_while_titles_are_kept(folder):
    (folder / "corpus.jsonl").write_bytes(jsonl([*CORPUS, {"_id": "p4", "title": "Only", "text": ""}]))
    assert BeirCorpus(str(folder)).check().passages == 4
    with pytest.raises(BadInput, match=r'corpus\.jsonl:4: passage \'p4\' has no text.*title="prepend"'):
        BeirCorpus(str(folder), title="drop").check()


def test_only_requested_splits_are_read(folder):
    (folder / "qrels" / "train.tsv").write_text("broken")
    corpus = BeirCorpus(str(folder), splits=["test"])
    assert corpus.check().judgments == {"test": 1}
    assert [path.name for path in corpus.files()] == ["corpus.jsonl", "queries.jsonl", "test.tsv"]


def test_identity_follows_content_and_splits(folder):
    first = BeirCorpus(str(folder)).identity()
    assert BeirCorpus(str(folder), splits=["test"]).identity() != first
    with open(folder / "qrels" / "test.tsv", "a") as file:
        file.write("q1\tp2\t0\n")
    assert BeirCorpus(str(folder)).identity() != first


def test_identical_repeated_judgments_are_harmless(folder):
    (folder / "qrels" / "test.tsv").write_text("q2\tp2\t1\nq2\tp2\t1\n")
    assert BeirCorpus(str(folder)).check().judgments["test"] == 1


def test_missing_directory_and_files(folder):
    with pytest.raises(BadInput, match=r"nowhere does not exist; give a directory in BEIR layout"):
        BeirCorpus(str(folder / "nowhere")).check()
    with pytest.raises(BadInput, match=r"corpus\.jsonl is not a directory"):
        BeirCorpus(str(folder / "corpus.jsonl")).check()
    (folder / "queries.jsonl").unlink()
    with pytest.raises(BadInput, match=r"queries\.jsonl \(or queries\.jsonl\.gz\) is missing"):
        BeirCorpus(str(folder)).check()
    (folder / "corpus.jsonl").unlink()
    with pytest.raises(BadInput, match=r"corpus\.jsonl \(or corpus\.jsonl\.gz\) is missing"):
        BeirCorpus(str(folder)).check()


def test_no_qrels_is_a_query_set_without_judgments(folder):
    for path in (folder / "qrels").iterdir():
        path.unlink()
    with pytest.raises(BadInput, match=r"qrels holds no <split>\.tsv: a query set without judgments.*test\.tsv"):
        BeirCorpus(str(folder)).check()


@pytest.mark.parametrize(
    ("splits", "message"),
    [
        (["tset"], r"split 'tset' is not in .*qrels, which holds train, test; did you mean 'test'\?"),
        (["dev"], r"split 'dev' is not in .*qrels, which holds train, test"),
    ],
)
def test_absent_splits(folder, splits, message):
    with pytest.raises(BadInput, match=message):
        BeirCorpus(str(folder), splits=splits).check()


def test_passages_alone_need_no_other_file(folder):
    shutil.rmtree(folder / "qrels")
    (folder / "queries.jsonl").unlink()
    alone = BeirCorpus(str(folder), splits=[])
    assert [path.name for path in alone.files()] == ["corpus.jsonl"]
    assert (alone.splits(), list(alone.queries()), alone.check().queries) == ([], [], 0)
    assert alone.check().passages == len(list(alone.passages())) > 0


def test_judgments_of_an_absent_split(folder):
    with pytest.raises(BadInput, match=r"split 'dev' has no .*dev\.tsv; there are train, test"):
        list(BeirCorpus(str(folder)).judgments("dev"))


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b"", r"corpus\.jsonl is empty"),
        (b"\n\n", r"corpus\.jsonl is empty"),
        (jsonl(CORPUS) + b'{"_id": "p4", "text": "cut', r"corpus\.jsonl:4: not JSON"),
        (jsonl(CORPUS) + jsonl(CORPUS[:2]), r"corpus\.jsonl:4: id 'p1' was used before.*\(1 more such line in"),
        (jsonl(CORPUS) + b'{"_id": "3", "text": "number and string"}', r"corpus\.jsonl:4: id '3' was used before"),
        (jsonl([*CORPUS, {"_id": "p4"}]), r"corpus\.jsonl:4: record 'p4' has no \"text\""),
        (jsonl([*CORPUS, {"_id": "p4", "text": 5}]), r"corpus\.jsonl:4: record 'p4' has the int 5 as \"text\""),
        (jsonl([*CORPUS, {"_id": "p4", "title": " ", "text": " "}]), r"corpus\.jsonl:4: passage 'p4' has no text"),
        (jsonl([*CORPUS, {"_id": "p4", "title": 4, "text": "x"}]), r"corpus\.jsonl:4: \"title\" of 'p4' is a int"),
        (jsonl([*CORPUS, {"i_d": "p4", "text": "x"}]), r"corpus\.jsonl:4: has no \"_id\" \(is 'i_d' meant\?\)"),
        (jsonl([*CORPUS, {"_id": 1.5, "text": "x"}]), r"corpus\.jsonl:4: \"_id\" is the float 1\.5"),
        (jsonl([*CORPUS, {"_id": True, "text": "x"}]), r"corpus\.jsonl:4: \"_id\" is the bool True"),
        (
            jsonl([*CORPUS, {"_id": "p 4", "text": "x"}]),
            r"corpus\.jsonl:4: the id 'p 4' is empty or holds white space",
        ),
        (jsonl([*CORPUS, {"_id": "", "text": "x"}]), r"corpus\.jsonl:4: the id '' is empty"),
        (jsonl(CORPUS) + b'{"_id": "p4", "text": "caf\xe9"}\n', r"corpus\.jsonl:4: byte .* is not UTF-8"),
    ],
)
def test_bad_corpus(folder, lines, message):
    (folder / "corpus.jsonl").write_bytes(lines)
    with pytest.raises(BadInput, match=message) as caught:
        BeirCorpus(str(folder)).check()
    assert "\n" not in str(caught.value)
    if b"p4" in lines and b"p1" in lines:  # streaming without check tells the same
        with pytest.raises(BadInput, match=message):
            list(BeirCorpus(str(folder)).passages())


def test_gzip_corpus_cut_short(folder):
    zip_all(folder)
    path = folder / "corpus.jsonl.gz"
    path.write_bytes(path.read_bytes()[:-30])
    with pytest.raises(BadInput, match=r"corpus\.jsonl\.gz:\d+: the gzip file is cut short"):
        BeirCorpus(str(folder)).check()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (b"", r"queries\.jsonl is empty"),
        (jsonl([*QUERIES, {"_id": "q3", "text": "  "}]), r"queries\.jsonl:3: query 'q3' has no text"),
        (jsonl([*QUERIES, QUERIES[0]]), r"queries\.jsonl:3: id 'q1' was used before"),
    ],
)
def test_bad_queries(folder, lines, message):
    (folder / "queries.jsonl").write_bytes(lines)
    with pytest.raises(BadInput, match=message):
        BeirCorpus(str(folder)).check()


HEADER = "query-id\tcorpus-id\tscore\n"


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (HEADER, r"test\.tsv has no judgments"),
        ("", r"test\.tsv has no judgments.*leave the split out"),
        (HEADER + "q2\tp2\t0\n", r"test\.tsv has only scores of 0 or less"),
        (HEADER + "q2\tp2\t1\nq9\tp2\t1\n", r"test\.tsv:3: 'q9' is not an id of queries\.jsonl"),
        ("q2\tp8\t1\nq2\tp9\t1\nq2\tp7\t1\n", r"test\.tsv:1: 'p8' is not an id of corpus\.jsonl.*\(2 more such lines"),
        (HEADER + "q2\tp2\tyes\n", r"test\.tsv:2: the score 'yes' is not an integer"),
        (HEADER + "q2\tp2\t0.5\n", r"test\.tsv:2: the score '0\.5' is not an integer"),
        (HEADER + "q2\t0\tp2\t1\n", r"test\.tsv:2: has 4 columns; a line of this file is query-id<tab>"),
        (HEADER + "q2\tp2\n", r"test\.tsv:2: has 2 columns; a line of this file is query-id<tab>"),
        (
            "q9\tp2\t1\nq8\tp2\t1\n",
            r"test\.tsv: none of the 2 queries judged there is in .*queries\.jsonl, which holds unj",
        ),
        (HEADER + "q2\t\t1\n", r"test\.tsv:2: has an empty column"),
        (HEADER + "q2\tp2\t1\nq2\tp2\t2\n", r"test\.tsv:3: 'q2' and 'p2' were judged before with another score"),
        (HEADER + "q2\tp2\t1\n" + HEADER, r"test\.tsv:3: the score 'score' is not an integer"),
    ],
)
def test_bad_qrels(folder, lines, message):
    (folder / "qrels" / "test.tsv").write_text(lines)
    with pytest.raises(BadInput, match=message):
        BeirCorpus(str(folder)).check()


def test_a_real_collection():
    path = SHARED / "data" / "squad-small"
    if not path.is_dir():
        pytest.skip(f"no collection at {path}")
    counts = BeirCorpus(str(path)).check()
    assert (counts.passages, counts.queries) == (2000, 5000)
    assert counts.judgments == {"train": 4000, "dev": 500, "test": 500}
