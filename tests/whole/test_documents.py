"""MASTER's ladder on MS MARCO and Natural Questions: what follows which is known, assumed, or the run is refused."""

import json
import re
import time

import numpy as np
import pytest
from support.compose import composed
from support.dpr_files import passages, write_dpr
from support.msmarco_files import TEXTS, write_documents

from bmae_lightning.stage.prepared import Prepared

STEPS = [f"{stage}.steps=2" for stage in ("pretrain", "retriever1", "retriever2", "reranker", "distilled")]
QUICK = [
    "+experiment=master", "encoder=tiny", "logger=none", "baseline=false", *STEPS, "pretrain.batch_size=8",
    "retriever1.batch_size=4", "reranker.batch_size=4", "generate.queries.steps=1", "generate.continuation.steps=1",
    "generate.queries.sampling.tokens=4", "generate.continuation.sampling.tokens=4", "evaluate.depth=20",
    "evaluate.train_depth=20", "bm25.ranker.stopwords=null",
]  # fmt: skip
ROWS = ("master", "master retriever2", "master re-ranked", "master distilled")


def finished(directory, stage):
    (found,) = (path for path in (directory / "outputs" / "store").glob(f"{stage}-*") if (path / "done").is_file())
    return found


def check_ladder(directory, printed):
    """Every rung is a row, and all five decoders have learned."""
    assert all(re.search(rf"^{row} +\d", printed, re.MULTILINE) for row in ROWS)
    last = json.loads((finished(directory, "pretrain") / "metrics.jsonl").read_text().splitlines()[-1])
    assert all(last[f"loss/{name}"] > 0 for name in ("keywords", "queries", "continuation", "next", "complement"))


@pytest.fixture(scope="module")
def msmarco(tmp_path_factory):
    return write_documents(tmp_path_factory.mktemp("files") / "msmarco")


def test_ms_marco_with_a_file_of_documents_climbs_the_ladder(here, msmarco, tmp_path):
    """passageID2DocumentId.tsv says the document of all but the first dozen passages, and knows one more."""
    documents = f"corpus.documents={msmarco / 'passageID2DocumentId.tsv'}"
    printed = here(*QUICK, "corpus=msmarco", f"corpus.path={msmarco}", documents, "corpus.evaluated=[dev]")
    check_ladder(tmp_path, printed)
    told = (
        "288 of 300 passages are of 96 documents, 192 have a next one there (passageID2DocumentId.tsv; 12 passages are "
        "not listed there; 1 of those listed are not in the collection)"
    )
    assert f"prepare: {told}\n" in printed
    assert told in (finished(tmp_path, "report") / "report.html").read_text()
    row = np.arange(300)
    following = np.where((row < len(TEXTS)) | (row % 3 == 2), -1, row + 1)
    assert np.array_equal(Prepared(finished(tmp_path, "prepare")).order("next")[:], following)


def test_natural_questions_have_documents(here, tmp_path):
    files = write_dpr(tmp_path / "nq", more=96)
    printed = here(*QUICK, "corpus=nq", f"corpus.path={files}")
    check_ladder(tmp_path, printed)
    titles = [title for *_, title in passages(96)]
    following = [row + 1 if titles[row + 1 : row + 2] == [title] else -1 for row, title in enumerate(titles)]
    assert Prepared(finished(tmp_path, "prepare")).order("next")[:].tolist() == following


def test_in_a_sweep_over_both_collections_the_file_is_ms_marcos():
    both = "collections.documents=FILE", "collections.neighbours=x", "collections.msmarco=A", "collections.nq=B"
    for corpus, known in (("msmarco", ["FILE", "x"]), ("nq", [None, "documents"])):
        prepare = composed(f"corpus={corpus}", *both)["prepare"]
        assert [prepare["documents"], prepare["neighbours"]] == known


def test_the_doctor_tells_what_a_file_of_documents_says(here, msmarco):
    documents = f"corpus.documents={msmarco / 'passageID2DocumentId.tsv'}"
    files = "corpus=msmarco", f"corpus.path={msmarco}", "corpus.expected=null", "corpus.check=true"
    found = here("+experiment=master", *files, documents)
    assert re.search(r"passages that another one follows +192", found)
    assert "12 passages are not listed there" in found
    assert "passages that another one follows" not in here("+experiment=master", *files)


def test_without_documents_the_run_is_refused_at_once(here, msmarco, tmp_path, monkeypatch):
    """Before a stage starts, and before files of gigabytes are digested."""
    digested = []
    monkeypatch.setattr("bmae_lightning.corpus.collection.file_digest", lambda path: digested.append(path) or "")
    started = time.monotonic()
    printed = here(*QUICK, "corpus=msmarco", f"corpus.path={msmarco}", code=2)
    assert time.monotonic() - started < 10
    assert not digested
    (line,) = (line for line in printed.splitlines() if line.startswith("error: "))
    remedies = ("corpus.documents=FILE", "corpus.neighbours=collection_order", "reading=code")
    assert all(word in line for word in ("decoders.next", *remedies))
    assert not (tmp_path / "outputs" / "store").exists()


def test_the_order_of_the_collection_is_said_aloud(here, msmarco, tmp_path):
    wanted = [*QUICK, "corpus=msmarco", f"corpus.path={msmarco}", "corpus.neighbours=collection_order", "rungs=1"]
    printed = here(*wanted, "decoders=[next]", "corpus.evaluated=[dev]")
    told = "corpus.neighbours=collection_order: the passage that stands next in the collection is taken as the one"
    assert f"prepare: {told}" in printed
    assert told in (finished(tmp_path, "report") / "report.html").read_text()


def test_a_broken_file_of_documents_is_one_line_before_any_stage(here, msmarco, tmp_path):
    broken = tmp_path / "broken.tsv"
    broken.write_text("12\tD0\n13 D0\n")
    printed = here(*QUICK, "corpus=msmarco", f"corpus.path={msmarco}", f"corpus.documents={broken}", code=2)
    assert f"error: {broken}:2: has 1 columns, or an empty one; write passage<tab>document" in printed
    assert not (tmp_path / "outputs" / "store").exists()
