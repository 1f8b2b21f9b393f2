"""What the prepare stage leaves of a collection, and what it refuses to begin."""

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from support.command import write_collection
from support.stages import prepare

from bmae_lightning.corpus.beir import BeirCorpus
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.stage.prepared import Prepared


def test_every_text_is_there_once_in_its_order(collection, tmp_path, capsys):
    prepared = Prepared(prepare(tmp_path / "prepare", collection))
    source, tokenizer = BeirCorpus(str(collection)), prepared.tokenizer()
    for store, texts in (
        (prepared.passages(), [(passage.id, passage.content) for passage in source.passages()]),
        (prepared.queries(), [(query.id, query.text) for query in source.queries()]),
    ):
        assert list(store.external_ids) == [id for id, _ in texts]
        for row, (_, text) in enumerate(texts):
            assert store[row].tolist() == tokenizer(text, add_special_tokens=False)["input_ids"]
    assert prepared.record["splits"] == prepared.splits == ["train", "test"]
    assert json.loads((tmp_path / "prepare" / "metrics.json").read_text()) == {"passages": 60, "queries": 60}
    assert "prepare: 60 passages, 60 queries, judgments: train 40, test 20" in capsys.readouterr().out
    assert not list((tmp_path / "prepare").glob("*shards"))


def test_neighbours_are_the_next_passages_of_a_document(collection, tmp_path, capsys):
    prepared = Prepared(prepare(tmp_path / "prepare", collection))
    after = np.arange(60)
    assert np.array_equal(prepared.order("next")[:], np.where(after % 3 == 2, -1, after + 1))
    assert np.array_equal(prepared.order("neighbour")[:], np.where(after % 3 == 2, after - 1, after + 1))
    assert "prepare: 60 of 60 passages are of 20 documents, 40 have a next one there\n" in capsys.readouterr().out
    prepare(tmp_path / "other", collection, neighbours="collection_order")
    assert Prepared(tmp_path / "other").order("next")[:].tolist() == [*range(1, 60), -1]
    said = "prepare: corpus.neighbours=collection_order: the passage that stands next in the collection"
    assert said in capsys.readouterr().out
    with pytest.raises(ValueError, match="exclude each other"):
        prepare(tmp_path / "other", collection, neighbours="collection_order", documents="FILE")


def test_what_an_earlier_attempt_left_is_replaced(collection, tmp_path):
    directory = tmp_path / "prepare"
    for name in ("qrels", "passages", "tokenizer"):
        (directory / name).mkdir(parents=True)
        (directory / name / "old.trec").touch()
    prepare(directory, collection)
    assert not list(directory.rglob("old.trec"))
    assert sorted(path.name for path in (directory / "qrels").iterdir()) == ["test.trec", "train.trec"]


def test_passages_alone_are_enough_to_pre_train(here, tmp_path):
    folder = write_collection(tmp_path / "alone")
    shutil.rmtree(folder / "qrels")
    (folder / "queries.jsonl").unlink()
    wanted = [
        "+experiment=mlm", "encoder=tiny", "pretrain.steps=1", "pretrain.batch_size=4", "baseline=false", "logger=none",
        "corpus=beir", f"corpus.path={folder}",
    ]  # fmt: skip
    assert "read passages alone (corpus.splits=[])" in here(*wanted, "stage=[pretrain]", code=2)
    here(*wanted, "corpus.splits=[]", "stage=[pretrain]")
    (prepared,) = map(Prepared, (tmp_path / "outputs" / "store").glob("prepare-*"))
    assert (prepared.splits, len(prepared.passages()), len(prepared.queries())) == ([], 60, 0)
    for goal in ("report", "retriever1", "evaluate"):
        refused = here(*wanted, "corpus.splits=[]", f"stage=[{goal}]", code=2)
        assert refused.splitlines()[-1].startswith("error: bm25.splits: the corpus has passages alone")


def test_a_query_of_which_nothing_is_left(tmp_path):
    directory = write_collection(tmp_path / "beir")
    lines = (directory / "queries.jsonl").read_text().splitlines()
    lines[45:47] = [json.dumps({"_id": f"q{i}", "text": "\u200b"}) for i in (45, 46)]
    (directory / "queries.jsonl").write_text("\n".join(lines) + "\n")
    with pytest.raises(BadInput, match=r"the tokenizer leaves nothing of query 'q45', and 1 more queries: remove it"):
        prepare(tmp_path / "prepare", directory)


def test_a_disk_that_is_too_small(collection, tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda _: SimpleNamespace(free=1000))
    with pytest.raises(BadInput, match=r"disk full: .* free, the token store of 60 passages needs about .*output_dir="):
        prepare(tmp_path / "prepare", collection)
    assert not (tmp_path / "prepare" / "passages").exists()
