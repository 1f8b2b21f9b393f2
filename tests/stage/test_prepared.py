"""The prepared corpus as later stages read it."""

import pytest
from support.dpr_files import write_dpr
from support.stages import prepare

from bmae_lightning.corpus.beir import BeirCorpus
from bmae_lightning.corpus.dpr import DprCorpus
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.stage.prepared import Prepared


@pytest.fixture(scope="module")
def prepared(collection, tmp_path_factory):
    return Prepared(prepare(tmp_path_factory.mktemp("prepared"), collection))


def test_texts_by_id(prepared, collection):
    passages = {passage.id: passage.content for passage in BeirCorpus(str(collection)).passages()}
    assert dict(prepared.texts()) == passages
    assert prepared.passage_texts({"p3", "p17"}) == {"p3": passages["p3"], "p17": passages["p17"]}
    assert prepared.passage_texts(set()) == {}
    queries = {query.id: query.text for query in BeirCorpus(str(collection)).queries()}
    assert prepared.query_texts({"q5"}) == {"q5": queries["q5"]}


def test_texts_are_read_as_far_as_the_last_one(prepared, monkeypatch):
    read = []

    def texts(_):
        for number in range(60):
            read.append(number)
            yield f"p{number}", "text"

    monkeypatch.setattr(Prepared, "texts", texts)
    assert prepared.passage_texts({"p1", "p4"}) == {"p1": "text", "p4": "text"}
    assert read == [0, 1, 2, 3, 4]


def test_judgments_of_a_split(prepared):
    assert prepared.qrels("test") == {f"q{i}": {f"p{i}": 1} for i in range(40, 60)}
    assert prepared.answers("test") == {}
    with pytest.raises(BadInput, match="has no judgments for split 'dev'; there is train, test"):
        prepared.qrels("dev")


def test_a_query_with_answers_alone_is_there_without_passages(tmp_path):
    prepared = Prepared(prepare(tmp_path / "prepare", DprCorpus(str(write_dpr(tmp_path / "files")))))
    answers = prepared.answers("test")
    assert answers
    assert all(isinstance(answer, str) for accepted in answers.values() for answer in accepted)
    assert set(answers) <= set(prepared.qrels("test"))


def test_a_missing_or_damaged_file_says_what_to_do(collection, tmp_path):
    prepared = Prepared(prepare(tmp_path / "prepare", collection))
    (prepared.directory / "next.npy").write_bytes(b"no array")
    with pytest.raises(BadInput, match=r"next\.npy cannot be read .*delete .* and run the prepare stage again"):
        prepared.order("next")
    (prepared.directory / "corpus.json").unlink()
    with pytest.raises(BadInput, match=r"corpus\.json: cannot be read .*run the stage again"):
        Prepared(prepared.directory)
