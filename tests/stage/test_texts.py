"""Texts of a collection: every tokenizer reads them once, and a query without text is named."""

import pytest
from support.foreign_models import write_bert
from support.stages import prepare

from bmae_lightning.corpus.beir import BeirCorpus
from bmae_lightning.encoder.tokenizer import load_tokenizer
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.rank import Search
from bmae_lightning.stage.texts import Texts


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, collection):
    return Prepared(prepare(tmp_path_factory.mktemp("texts") / "corpus", collection))


@pytest.fixture(scope="module")
def theirs(tmp_path_factory):
    return write_bert(tmp_path_factory.mktemp("theirs"))


def search(tmp_path, *queries):
    return Search("test", queries, 5, tmp_path / "run")


def test_queries_come_in_the_order_of_the_collection(collection, tmp_path):
    texts = Texts(BeirCorpus(str(collection)), tmp_path)
    found = texts.queries(search(tmp_path, "q7", "q2"))
    assert list(found) == ["q2", "q7"]
    assert len(found["q2"].split()) == 5
    with pytest.raises(BadInput, match="query 'x' and 1 more is judged but not among the queries"):
        texts.queries(search(tmp_path, "q1", "x", "y"))


def test_the_prepared_tokens_serve_the_tokenizer_that_made_them(corpus, theirs, tmp_path):
    texts = Texts(corpus.source(), tmp_path / "tokens", corpus.passages())
    assert texts.tokens(corpus.tokenizer_directory, "", "x") is texts.made
    assert not (tmp_path / "tokens").exists()
    assert texts.count == 60
    other = texts.tokens(theirs, "", "x")
    assert other.tokenizer_digest != texts.made.tokenizer_digest
    assert list(other.external_ids) == list(texts.made.external_ids)


def test_passages_and_queries_are_tokenised_once_behind_their_prefix(theirs, collection, tmp_path):
    texts, tokenizer = Texts(BeirCorpus(str(collection)), tmp_path / "tokens"), load_tokenizer(theirs)
    passages = texts.tokens(theirs, "w3 w4 ", "x")
    first = next(iter(texts.contents()))
    right = tokenizer("w3 w4 " + first[1], add_special_tokens=False)["input_ids"]
    assert (passages.external_id(0), passages[0].tolist()) == (first[0], right)
    wanted = search(tmp_path, "q5", "q3")
    queries = texts.query_tokens(theirs, "w9 ", wanted, "x")
    right = tokenizer("w9 " + texts.queries(wanted)["q5"], add_special_tokens=False)["input_ids"]
    assert (list(queries.external_ids), queries[1].tolist()) == (["q3", "q5"], right)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.bin")}
    texts.tokens(theirs, "w3 w4 ", "x")
    texts.query_tokens(theirs, "w9 ", wanted, "x")
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.bin")} == before
