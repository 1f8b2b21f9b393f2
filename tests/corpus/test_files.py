"""MS MARCO's folder and files of other names: what is read, what is left out, and every way they can be broken."""

import gzip
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from support.msmarco_files import GRADES, TEXTS, TRAIN, write_msmarco
from support.stages import prepare

from bmae_lightning.command.experiment import CORPUS_OPTIONS
from bmae_lightning.corpus.files import FileCorpus
from bmae_lightning.corpus.records import Counts, Judgment, Passage, Query
from bmae_lightning.runtime.configuration import build, config_directory
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.stage.prepared import Prepared


@pytest.fixture(scope="module")
def node():
    """conf/corpus/msmarco.yaml without what is asked of every collection."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        whole = OmegaConf.to_container(compose("config", overrides=["corpus=msmarco"]).corpus, resolve=True)
    return {name: value for name, value in whole.items() if name not in CORPUS_OPTIONS}


@pytest.fixture
def folder(tmp_path):
    return write_msmarco(tmp_path / "msmarco")


def corpus(node, folder, **options) -> FileCorpus:
    return build(node | {"path": str(folder)} | options, "corpus")


def test_reads_the_published_files(node, folder):
    read = corpus(node, folder)
    assert [(p.id, p.content) for p in read.passages()] == [(str(i), text) for i, text in enumerate(TEXTS)]
    assert read.splits() == ["train", "dev", "dl19"]
    assert list(read.judgments("dev")) == [Judgment("2", "5", 1), Judgment("300674", "11", 1), Judgment("2", "6", 1)]
    graded = [Judgment(q, str(p), grade) for q, marks in GRADES.items() for p, grade in marks.items()]
    assert list(read.judgments("dl19")) == graded
    judged = [*TRAIN, "2", "300674", *GRADES]
    assert [
        query.id for query in read.queries()
    ] == judged  # not the train topics 999, 2, 300674, not the unjudged topics
    counts = read.check()
    assert counts == Counts(12, len(judged), {"train": 3, "dev": 3, "dl19": 5}, sum(len(t.split()) for t in TEXTS))
    assert [path.name for path in read.files()][:2] == ["collection.tsv", "queries.train.tsv"]
    assert build(read.node()).identity() == read.identity()


def test_titles_are_joined_side_by_side(node, folder):
    read = corpus(node, folder, title="prepend")
    assert [p.title for p in read.passages()] == ["" if i % 3 else f"Title {i}" for i in range(12)]
    assert read.identity() != corpus(node, folder).identity()
    kept = corpus(node, folder, title="prepend", untitled="")
    assert next(p for p in kept.passages() if p.id == "1").content == f"- {TEXTS[1]}"
    lines = (folder / "para.title.txt").read_text().splitlines(keepends=True)
    (folder / "para.title.txt").write_text("".join(lines[:4] + lines[7:]))  # some passages have no line
    assert [p.title for p in read.passages()] == ["Title 0", "", "", "Title 3", "", "", "", "", "", "Title 9", "", ""]
    (folder / "para.title.txt").write_text("".join([lines[3], lines[0]]))
    with pytest.raises(BadInput, match=r"para\.title\.txt:2: the title of '0' belongs to no passage.*same order"):
        read.check()
    (folder / "para.title.txt").unlink()
    with pytest.raises(BadInput, match=r"lacks para\.title\.txt.*title=prepend needs.*marco\.tar\.gz.*title=drop"):
        read.files()


def test_prepares_and_is_read_again(node, folder, tmp_path):
    prepared = Prepared(prepare(tmp_path / "prepare", corpus(node, folder), 200))
    assert list(prepared.texts()) == [(str(i), text) for i, text in enumerate(TEXTS)]
    assert (len(prepared.passages()), len(prepared.queries())) == (12, 7)
    assert prepared.qrels("dl19") == {q: {str(p): g for p, g in marks.items()} for q, marks in GRADES.items()}
    assert prepared.query_texts({"19335"}) == {"19335": "graded question 19335"}
    assert (prepared.record["name"], prepared.record["title"]) == ("msmarco", "drop")
    assert prepared.answers("dev") == {}


def test_one_error_lists_all_files(node, folder):
    every = ["collection.tsv or para.txt", "queries.train.tsv", "qrels.train.tsv", "queries.dev.small.tsv", "dl20 = ",
             "msmarco-test2019-queries.tsv", "2019qrels-pass.txt", "para.title.txt",
             "microsoft.github.io/msmarco"]  # fmt: skip

    def told(path) -> str:
        with pytest.raises(BadInput) as error:
            build(node | {"path": path}, "corpus").identity()
        assert all(name in str(error.value) for name in every), error.value
        assert "\n" not in str(error.value)
        return str(error.value)

    assert "corpus.path is not given" in told(None)
    assert "nowhere does not exist" in told(str(folder / "nowhere"))
    assert "collection.tsv is not a directory" in told(str(folder / "collection.tsv"))
    (folder / "2019qrels-pass.txt").unlink()
    assert "only one of the two files of the split dl19, the qrels are missing" in told(str(folder))
    for path in [*folder.glob("q*"), *folder.glob("ms*")]:
        path.unlink()
    assert "has the files of no split" in told(str(folder))
    for splits in ([], {}, None):
        assert corpus(node, folder, splits=splits).check()[:3] == (12, 0, {}), "passages alone"
    (folder / "collection.tsv").unlink()
    (folder / "queries.train.tsv").touch()
    (folder / "qrels.train.tsv").touch()
    assert "lacks the passages" in told(str(folder))


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("collection.tsv", b"0\tone\n1\tone\ttwo\n2\n",
         r"collection\.tsv:2: has 3 tab-separated columns, id<tab>text has 2"
         r".*corpus\.columns=.*\(1 more such line"),
        ("collection.tsv", b"0\tone\n1\tcaf\xc3\xa9\n2\tcaf\xe9\n",
         r"collection\.tsv:3: byte 6 of the line \(0xe9\) is not UTF-8"),
        ("collection.tsv", b"0\tone\n1\ttwo\n0\tthree\n", r"collection\.tsv:3: id '0' was used before"),
        ("collection.tsv", b"0\tone\n1\t \n",
         r"collection\.tsv:2: passage '1' has no text.*corpus\.tolerate=\[empty\]"),
        ("collection.tsv", b"a b\tone\n", r"collection\.tsv:1: the id 'a b' is empty or holds white space"),
        ("queries.train.tsv", b"1048585\tone\n121352\n", r"queries\.train\.tsv:2: has 1 tab-separated columns"),
        ("qrels.train.tsv", b"1048585\t0\t3\t1\t0.5\n",
         r"qrels\.train\.tsv:1: has 5 columns; a line of this file is query 0"),
        ("qrels.train.tsv", b"1048585\t0\t3\t1\n121352\t0\t0\n",
         r"qrels\.train\.tsv:2: has 3 columns; .* query 0 passage grade"),
        ("qrels.train.tsv", b"1048585\t0\t12\t1\n", r"qrels\.train\.tsv:1: '12' is not an id of collection\.tsv"),
        ("qrels.train.tsv", b"1048585\t0\t3\t1\n19335\t0\t1\t1\n",
         r"qrels\.train\.tsv:2: '19335' is not an id of queries\.train\.tsv"),
        ("2019qrels-pass.txt", b"7 Q0 1 3\n8 Q0 2 0\n",
         r"2019qrels-pass\.txt: none of the 2 queries judged there is in "
         r".*msmarco-test2019-queries\.tsv\.gz, which holds unjudged queries only"),
        ("2019qrels-pass.txt", b"19335 Q0 1 high\n", r"2019qrels-pass\.txt:1: the score 'high' is not an integer"),
        ("queries.dev.small.tsv", b"2\tone\n300674\ttwo\n1048585\tother words\n", None),
    ],
)  # fmt: skip
def test_broken_files(node, folder, file, content, message):
    (folder / file).write_bytes(content)
    if message is None:  # another text of a query that this split does not judge is none of its business
        assert corpus(node, folder).check().queries == 7
        return
    with pytest.raises(BadInput, match=message) as error:
        corpus(node, folder).check()
    assert "\n" not in str(error.value)


def test_a_query_with_two_texts(node, folder):
    (folder / "queries.dev.small.tsv").write_text("2\tone\n300674\ttwo\n1048585\tother words\n")
    (folder / "qrels.dev.small.tsv").write_text("2\t0\t5\t1\n1048585\t0\t3\t1\n")
    with pytest.raises(BadInput, match="query '1048585' has another text than in the files of an earlier split"):
        corpus(node, folder).check()


def test_a_gzip_cut_short(node, folder):
    content = gzip.compress("".join(f"{i}\t{'words ' * (i % 50)}{i * i}\n" for i in range(5000)).encode())
    (folder / "collection.tsv").unlink()
    (folder / "collection.tsv.gz").write_bytes(content[:-500])
    with pytest.raises(BadInput, match=r"collection\.tsv\.gz:\d+: the gzip file is cut short"):
        corpus(node, folder).check()


def test_two_and_three_columns_of_judgments(node, folder):
    (folder / "qrels.train.tsv").write_text("1048585\t3\n")
    (folder / "qrels.dev.small.tsv").write_text("query-id\tcorpus-id\tscore\n2\t5\t3\n")
    read = corpus(node, folder)
    assert [*read.judgments("train"), *read.judgments("dev")] == [Judgment("1048585", "3", 1), Judgment("2", "5", 3)]


def test_json_lines_and_other_columns(tmp_path):
    (tmp_path / "p.tsv").write_text("7\thttp://x\tA title\tthe text\n")
    (tmp_path / "p.jsonl").write_text('{"id": "7", "contents": "the text", "title": "A title"}\n')
    (tmp_path / "q.jsonl").write_text('{"_id": "q", "text": "asked"}\n')
    (tmp_path / "r.txt").write_text("q 0 7 1\n")
    splits = {"test": {"queries": "q.jsonl", "qrels": "r.txt"}}
    for corpus in (
        FileCorpus(str(tmp_path), "p.tsv", splits, columns=["id", "url", "title", "text"]),
        FileCorpus(str(tmp_path), ["missing.tsv", "p.jsonl"], splits),
    ):
        assert list(corpus.passages()) == [Passage("7", "A title", "the text", None, None)]
        assert list(corpus.queries()) == [Query("q", "asked")]
        assert corpus.check().judgments == {"test": 1}
    (tmp_path / "titles.tsv").touch()
    with pytest.raises(BadInput, match=r"titles\.tsv cannot be joined with the JSON lines of p\.jsonl"):
        FileCorpus(str(tmp_path), "p.jsonl", splits, titles="titles.tsv").check()


def test_faults_of_published_collections_are_kept_where_that_is_asked_for(node, folder):
    (folder / "collection.tsv").write_text("".join(f"{i}\t{'' if i == 4 else i}\n" for i in range(12)))
    with (folder / "2019qrels-pass.txt").open("a") as file:
        file.write("47923 Q0 77 1\n")
    read = corpus(node, folder, tolerate=["empty", "unknown"])
    assert read.check().judgments["dl19"] == 6
    assert [p.content for p in read.passages()][3:6] == ["3", "", "5"]
    with (folder / "qrels.train.tsv").open("a") as file:
        file.write("1048585\t0\t77\t1\n")
    with pytest.raises(
        BadInput, match=r"qrels\.train\.tsv:4: '77' is not an id of collection\.tsv"
    ):  # nothing to train with
        read.check()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"columns": ["id", "title"]}, "must have id and text"),
        ({"columns": ["text", "id"]}, "must begin with id"),
        ({"splits": {"test": {"queries": "q"}}}, "splits.test must be"),
        ({"title": "none"}, "title must be one of prepend, pair, drop, got 'none'"),
        ({"tolerate": ["all"]}, "tolerate must be one of empty, unknown, got 'all'"),
    ],
)
def test_options(node, options, message):
    with pytest.raises(BadInput, match=message):
        corpus(node, Path("x"), **options)
