"""Rankers against every pair scored alone, with the indexes of the package and with one of one's own."""

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
from pytorch_lightning import Trainer
from support.retrievers import save_retriever, scored_alone
from support.stages import prepare

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.retrieval.foreign_model import find_retriever
from bmae_lightning.retrieval.index.bm25 import Bm25
from bmae_lightning.retrieval.index.exact import ExactIndex
from bmae_lightning.retrieval.index.faiss import FaissIndex
from bmae_lightning.retrieval.index.index import Index
from bmae_lightning.retrieval.model_options import ModelOptions
from bmae_lightning.retrieval.representation.hybrid import HybridRepresentation
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.rank import Search
from bmae_lightning.stage.rankers import DualEncoderRanker, Encoding, TextRanker, make_ranker
from bmae_lightning.stage.texts import Texts

TRAINER = partial(Trainer, accelerator="cpu", devices=1)


def encoding(index, batch_tokens, shard, **more):
    return Encoding(index=index, batch_tokens=batch_tokens, shard=shard, trainer=TRAINER, **more)


class SortedIndex(Index):
    """An index of one's own: one matrix product, all scores sorted."""

    in_pieces = True

    def search(self, passages, queries, k, block=None, device="cpu", progress=None):
        scores = queries @ np.asarray(passages).T
        rows = np.argsort(-scores, axis=1, kind="stable")[:, :k]
        return np.take_along_axis(scores, rows, 1), rows


@pytest.fixture(scope="module")
def corpus(tmp_path_factory, collection):
    return Prepared(prepare(tmp_path_factory.mktemp("rankers") / "corpus", collection))


@pytest.fixture(scope="module")
def models(tmp_path_factory, corpus):
    root = tmp_path_factory.mktemp("models")
    representations = {"dense": PooledRepresentation("mean"), "hybrid": HybridRepresentation("cls", 6, 9)}
    return root, {name: save_retriever(corpus, made, root / name) for name, made in representations.items()}


def searches(corpus, directory, depth=7):
    return [Search(split, list(corpus.qrels(split)), depth, directory / split) for split in ("test", "train")]


def ranked(ranker, wanted):
    """split -> run, and an empty file where a stage would write it."""
    runs = {}

    def write(search, run):
        runs[search.split] = run
        search.path.touch()

    assert ranker.rank(wanted, write)
    return runs


@pytest.mark.parametrize(
    ("name", "index", "files"),
    [
        ("dense", ExactIndex(), 12),
        ("dense", SortedIndex(), 12),
        ("dense", FaissIndex(), 2),
        ("hybrid", ExactIndex(), 12),
    ],
)
def test_a_retriever_ranks_as_every_pair_scored_alone(name, index, files, corpus, models, tmp_path):
    root, made = models
    retriever = find_retriever(name, ModelOptions(str(root / name / "retriever")), "x")
    queries, passages = corpus.queries(), corpus.passages()
    ranker = DualEncoderRanker(
        "x", tmp_path, retriever.dual_encoder(), retriever.layout.config, passages,
        lambda search: (queries, search.queries), encoding(index, 100, 7, query_shard=5),
    )  # fmt: skip
    runs = ranked(ranker, searches(corpus, tmp_path))
    scores = scored_alone(made[name], queries, passages, (12, 24))
    for split in ("test", "train"):
        assert list(runs[split]) == list(corpus.qrels(split))
        for query in runs[split]:
            of = scores[queries.row_of(query)]
            order = sorted(range(60), key=lambda row, of=of: -of[row])[:7]
            assert runs[split].passages(query) == [passages.external_id(row) for row in order]
            assert [score for _, score in runs[split][query]] == pytest.approx([of[row] for row in order], abs=1e-4)
    assert len(list((tmp_path / "checkpoints").rglob("*.npy"))) == files
    assert ranker.figures["passages_per_second"] > 0
    assert ranker.costs.keys() == {"test", "train"}
    ranker.free()
    assert {path.name for path in tmp_path.iterdir()} == {"test", "train"}


def test_a_search_that_is_done_is_left_alone(corpus, models, tmp_path):
    texts = Texts(corpus.source(), tmp_path / "tokens", corpus.passages())
    retriever = find_retriever("x", ModelOptions(str(models[0] / "dense" / "retriever")), "x")
    for model in (Bm25(), retriever):
        (tmp_path / "test").touch()
        ranker = make_ranker("x", tmp_path, texts, model, encoding(ExactIndex(), 100, 7))
        assert ranked(ranker, searches(corpus, tmp_path)).keys() == {"train"}
        (tmp_path / "train").unlink()


def test_a_retriever_from_elsewhere_reads_the_texts_itself(corpus, models, tmp_path):
    """Its token stores hold the queries behind its prefix, in the order of the collection."""
    options = ModelOptions(str(models[0] / "dense" / "retriever"), query_prefix="bada ")
    retriever = find_retriever("x", options, "x")
    texts = Texts(corpus.source(), tmp_path / "tokens", corpus.passages())
    ranker = make_ranker("x", tmp_path, texts, retriever, encoding(ExactIndex(), 100, 64))
    (wanted, _) = searches(corpus, tmp_path)
    run = ranked(ranker, [wanted])["test"]
    (directory,) = (tmp_path / "tokens").glob("*-test")
    store = TokenStore(directory)
    assert list(store.external_ids) == list(run) == wanted.queries
    prefix = corpus.tokenizer()("bada", add_special_tokens=False)["input_ids"]
    assert all(store[row][: len(prefix)].tolist() == prefix for row in range(len(store)))
    scores = scored_alone(models[1]["dense"], store, corpus.passages(), (12, 24))
    for row, query in enumerate(run):
        order = sorted(range(60), key=lambda place, row=row: -scores[row][place])[:7]
        assert run.passages(query) == [corpus.passages().external_id(place) for place in order]


def test_bm25_is_that_of_the_index_and_is_left_as_it_is(corpus, tmp_path):
    bm25, by_hand = Bm25(), Bm25()
    ranker = make_ranker("x", tmp_path, Texts(corpus.source(), tmp_path), bm25, encoding(ExactIndex(), 1, 1))
    assert isinstance(ranker, TextRanker)
    run = ranked(ranker, searches(corpus, tmp_path))["test"]
    ids, contents = zip(*corpus.texts(), strict=True)
    by_hand.index(contents, ids)
    queries = corpus.query_texts(set(corpus.qrels("test")))
    assert dict(run) == dict(by_hand.search(list(queries), list(queries.values()), 7))
    assert not bm25.ids


def test_the_ranker_of_a_model(bert_with_library, corpus, tmp_path):
    texts = Texts(corpus.source(), tmp_path / "tokens", corpus.passages())
    ranker = make_ranker("x", tmp_path, texts, bert_with_library, encoding(ExactIndex(), 256, 16))
    assert isinstance(ranker, TextRanker)
    run = ranked(ranker, searches(corpus, tmp_path))["test"]
    assert (len(run), run.depth) == (20, 7)
    assert len(list(tmp_path.glob("passages.*.npy"))) == 4
    ranker.free()
    assert not list(tmp_path.glob("passages.*"))


@pytest.fixture
def bert_with_library(tmp_path_factory):
    pytest.importorskip("sentence_transformers")
    from support.foreign_models import write_bert, write_sentence_transformer

    root = tmp_path_factory.mktemp("library")
    write_sentence_transformer(root / "model", write_bert(root / "bert"), "max")
    return find_retriever("x", ModelOptions(str(root / "model")), "x")


def test_an_index_that_cannot_search_the_model_is_refused_before_any_work(corpus, models, tmp_path):
    retriever = find_retriever("x", ModelOptions(str(models[0] / "hybrid" / "retriever")), "x")
    texts = Texts(corpus.source(), tmp_path / "tokens")
    with pytest.raises(BadInput, match="index=faiss searches dense vectors only"):
        make_ranker("x", tmp_path, texts, retriever, encoding(FaissIndex(), 100, 64))
    assert not list(tmp_path.iterdir())


class Found(TextRanker):
    """Texts that no test needs to read."""

    def _index(self):
        self.model.index(["桥梁的钢索", "黑麦面包"], ["1", "2"])


@pytest.mark.parametrize(
    ("queries", "said"),
    [
        ({"a": "钢索"}, ""),
        ({"a": "钢索", "b": "面包", "c": "zebra"}, "1 of 3 queries of dev (33.33%) share no term with any passage\n"),
        ({"a": "zebra"}, "1 of 1 queries of dev (100.00%) share no term with any passage; set bm25.analyzer to one "
         "that fits their script and language\n"),
    ],
)  # fmt: skip
def test_queries_that_find_nothing_are_counted_aloud(queries, said, tmp_path, capsys):
    texts = SimpleNamespace(queries=lambda search: queries)
    ranked(Found("x", tmp_path, texts, Bm25()), [Search("dev", list(queries), 5, tmp_path / "dev")])
    assert capsys.readouterr().out == (f"WARNING: x: {said}" if said else "")
