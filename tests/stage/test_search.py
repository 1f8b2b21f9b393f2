"""Questions from the command line: passages in the order of every pair scored alone; nothing is written."""

import pytest
from support.retrievers import one_by_one, save_retriever
from support.stages import prepare
from support.stores import write_store
from support.vectors import encode_to_files

from bmae_lightning.retrieval.index.exact import ExactIndex
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.search import Lookup


@pytest.fixture(scope="module")
def finished(tmp_path_factory, collection):
    """The directories of a corpus and of a retriever, the file of vectors, the model."""
    root = tmp_path_factory.mktemp("search")
    prepared = Prepared(prepare(root / "corpus", collection))
    model = save_retriever(prepared, PooledRepresentation("mean"), root)
    encode_to_files(model, prepared.passages(), 24, 512, "cpu", root / "passages.npy", lambda count: None)
    return root, model


def lookup(query, **options):
    given = {
        "arm": None,
        "indexes": ["evaluate"],
        "index": ExactIndex(),
        "depth": 4,
        "batch_tokens": 99,
        "device": "cpu",
    }
    return Lookup(query=query, **given | options)


def test_the_best_passages_of_a_question(finished, capsys, tmp_path):
    root, model = finished
    prepared = Prepared(root / "corpus")
    texts = prepared.query_texts({"q7", "q8"})
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    lookup(list(texts.values())).run("arm, evaluate", root / "corpus", root, root / "passages.npy")
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "arm, evaluate, 60 passages"
    hits = [line.split()[2] for line in lines if line[:4].strip().isdigit()]
    tokenizer, passages = prepared.tokenizer(), prepared.passages()
    rows = [tokenizer(text, add_special_tokens=False)["input_ids"] for text in texts.values()]
    asked = write_store(tmp_path / "asked", rows, vocabulary=len(tokenizer))
    scores = one_by_one(model, asked, 12, False).dense_BD @ one_by_one(model, passages, 24).dense_BD.T
    best = scores.argsort(dim=1, descending=True)[:, :4].flatten().tolist()
    assert hits == [passages.external_id(row) for row in best]


def test_mistakes_are_one_line(finished):
    root, _ = finished
    with pytest.raises(ValueError, match="query is empty: ask something"):
        lookup(["a", " "])
    with pytest.raises(ValueError, match="depth must be at least 1, got 0"):
        lookup("a", depth=0)
    with pytest.raises(BadInput, match="none.npy: the vectors cannot be read"):
        lookup("a").run("x", root / "corpus", root, root / "none.npy")
