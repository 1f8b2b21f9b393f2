"""Collections by name: the library's own readers on a small cache, its registry, its failures, its missing lock."""

import sys
import threading

import pytest
from filelock import FileLock
from support.msmarco_files import GRADES, TEXTS, TRAIN, write_msmarco

from bmae_lightning.corpus import ir_datasets as by_name
from bmae_lightning.corpus.ir_datasets import IrDatasetsCorpus
from bmae_lightning.corpus.records import Judgment, Passage, Query
from bmae_lightning.runtime.errors import BadInput

pytest.importorskip("ir_datasets")
MSMARCO = {"train": "msmarco-passage/train/judged", "dl19": "msmarco-passage/trec-dl-2019/judged"}


def _loaded() -> dict:
    return {name: module for name, module in sys.modules.items() if name.split(".")[0] == "ir_datasets"}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """The library over a cache of its own, which it looks for when it is imported, without a network."""
    home = tmp_path_factory.mktemp("cache")
    before = _loaded()
    for name in before:
        del sys.modules[name]
    with pytest.MonkeyPatch.context() as patch:
        for variable, value in {"HOME": str(home), "TMP": str(home / "tmp"), "DL_TRIES": "1"}.items():
            patch.setenv(f"IR_DATASETS_{variable}", value)
        patch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        yield by_name.library()
    for name in _loaded():
        del sys.modules[name]
    sys.modules.update(before)


@pytest.fixture(scope="module")
def cached(library, tmp_path_factory):
    """MS MARCO's files where the library keeps what it has fetched."""
    files = write_msmarco(tmp_path_factory.mktemp("files") / "msmarco")
    cache = library.util.home_path() / "msmarco-passage"
    for name, place in {
        "collection.tsv": "collection.tsv", "queries.train.tsv": "train/queries.tsv", "qrels.train.tsv": "train/qrels",
        "2019qrels-pass.txt": "trec-dl-2019/qrels",
    }.items():  # fmt: skip
        (cache / place).parent.mkdir(parents=True, exist_ok=True)
        (files / name).rename(cache / place)
    topics = "".join(f"{id}\tgraded question {id}\n" for id in [*GRADES, "1"])
    (cache / "trec-dl-2019" / "queries.tsv").write_text(topics)
    (cache / "irds_version.txt").write_text("v2")


def test_msmarco_by_name(cached):
    corpus = IrDatasetsCorpus("msmarco-passage", MSMARCO, title="drop")
    assert list(corpus.passages()) == [Passage(str(i), "", text, None, None) for i, text in enumerate(TEXTS)]
    assert [query.id for query in corpus.queries()] == [*TRAIN, *GRADES]
    assert list(corpus.judgments("train")) == [Judgment(q, str(p), 1) for q, p in TRAIN.items()]
    assert corpus.check().judgments == {"train": 3, "dl19": 5}
    assert corpus.splits() == ["train", "dl19"]
    published = corpus.published()
    assert published["passages"] == 8_841_823
    assert published["splits"] == {
        "train": {"queries": 502_939, "judgments": 532_761},
        "dl19": {"queries": 43, "judgments": 9_260},
    }
    assert corpus.identity().startswith("ir_datasets ")
    assert corpus.files() == []


@pytest.fixture(scope="module")
def toy(library):
    """Two collections as BEIR's are registered: one with splits, one without, and another version below the first."""
    formats = library.formats

    class Docs(formats.BaseDocs):
        def docs_iter(self):
            yield library.datasets.beir.BeirTitleUrlDoc("d1", "first text", "First", "u")
            yield library.datasets.beir.BeirTitleUrlDoc("d2", "", "", "u")

    class Queries(formats.BaseQueries):
        def queries_iter(self):
            yield from (formats.GenericQuery(id, f"asked {id}") for id in ("q1", "q2", "q3"))

    class Qrels(formats.BaseQrels):
        def __init__(self, *pairs):
            self.pairs = pairs

        def qrels_iter(self):
            yield from (formats.TrecQrel(query, doc, 1, "0") for query, doc in self.pairs)

    docs, queries = Docs(), Queries()
    for name, parts in {
        "toy": (docs, queries), "toy/test": (docs, queries, Qrels(("q1", "d1"))),
        "toy/train": (docs, queries, Qrels(("q2", "d2"))),
        "toy/v2": (Docs(), queries, Qrels(("q2", "d2"))), "toy/v2/deep": (Docs(), queries, Qrels()),
        "whole": (docs, queries, Qrels(("q3", "d1"), ("q3", "nowhere"))), "no_docs": (queries,),
        "unjudged": (docs, queries),
    }.items():  # fmt: skip
        library.registry.register(name, library.Dataset(*parts))


def test_nothing_is_fetched_to_tell_that_passages_say_no_documents(library):
    assert not IrDatasetsCorpus("beir/scifact").has_documents()


def test_splits_are_found_in_the_registry(toy):
    corpus = IrDatasetsCorpus("toy", tolerate=["empty"])
    assert corpus.splits() == ["train", "test"]
    assert [passage.content for passage in corpus.passages()] == ["First first text", ""]
    assert list(corpus.queries()) == [Query("q2", "asked q2"), Query("q1", "asked q1")]
    assert corpus.check().judgments == {"train": 1, "test": 1}
    assert IrDatasetsCorpus("whole").splits() == ["test"]
    assert IrDatasetsCorpus("unjudged", splits=[], tolerate=["empty"]).check()[:3] == (2, 0, {}), "passages alone"
    with pytest.raises(BadInput, match=r"^toy docs:2: passage 'd2' has no text"):
        IrDatasetsCorpus("toy").check()


def test_unknown_passages_are_judged_as_published(toy):
    with pytest.raises(BadInput, match="^whole qrels:2: 'nowhere' is not an id of whole docs"):
        IrDatasetsCorpus("whole", tolerate=["empty"]).check()
    assert IrDatasetsCorpus("whole", tolerate=["empty", "unknown"]).check().judgments == {"test": 2}


@pytest.mark.parametrize(
    ("name", "splits", "message"),
    [
        ("beir/scifct", None, "'beir/scifct' is no dataset of ir_datasets .*did you mean 'beir/scifact'"),
        ("toy", {"test": "toy/tset"}, "'toy/tset' is no dataset .*did you mean 'toy/test'"),
        ("toy", {"test": "unjudged"}, "corpus.splits.test: the dataset 'unjudged' of ir_datasets has no judgments"),
        ("unjudged", None, "no split with judgments is known"),
        ("no_docs", None, "has no documents"),
    ],
)
def test_wrong_names(toy, name, splits, message):
    with pytest.raises(BadInput, match=message):
        IrDatasetsCorpus(name, splits).splits()


def test_without_a_network(library):
    corpus = IrDatasetsCorpus("beir/nfcorpus", tolerate=["empty"])
    assert corpus.splits() == ["train", "dev", "test"]
    with pytest.raises(
        BadInput, match=r"cannot read the docs of beir/nfcorpus \(\w+Error: .*needs a network.*IR_DATASETS_HOME"
    ):
        corpus.check()


def test_without_the_library(monkeypatch):
    monkeypatch.setitem(sys.modules, "ir_datasets", None)
    with pytest.raises(BadInput, match=r"pip install 'bmae_lightning\[collections\]'"):
        IrDatasetsCorpus("beir/scifact").splits()


def test_one_process_fetches_at_a_time(toy, library, monkeypatch):
    waiting, read = threading.Event(), []
    monkeypatch.setattr("bmae_lightning.runtime.process.print_once", lambda text: waiting.set())
    other = FileLock(library.util.home_path() / "bmae_lightning.lock")
    corpus = IrDatasetsCorpus("toy", tolerate=["empty"])
    thread = threading.Thread(target=lambda: read.extend(corpus.passages()))
    with other:
        thread.start()
        assert waiting.wait(30)
        assert not read
    thread.join(30)
    assert len(read) == 2
