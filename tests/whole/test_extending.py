"""Every kind of part in two files: the texts of README.md and docs/extending.md, run from a directory of one's own.

Each example is written where its text says, outside the package, and its command is run on the small collection with a
tiny encoder and nothing else edited.
"""

import json
import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from support.backbones import bert_tokenizer
from support.families import write_family
from support.paths import ROOT

from bmae_lightning.retrieval.dual_encoder import load_dual_encoder
from bmae_lightning.retrieval.index.exact import ExactIndex
from bmae_lightning.stage.mined_negatives import read_mined
from bmae_lightning.stage.prepared import Prepared

SMALL = ["encoder=tiny", "pretrain.steps=2", "retriever1.steps=2", "pretrain.batch_size=8", "retriever1.batch_size=8",
         "logger=none", "baseline=false"]  # fmt: skip
PAGES = {name: (ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "docs/extending.md")}
SECTIONS = {
    heading: text
    for page in PAGES.values()
    for heading, text in re.findall(r"^## ([^\n]+)\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    if "-cd myconf" in text
}


def files_of(section: str) -> dict[str, str]:
    """Path -> text of the two files of an example: each block stands behind the first mention of its path."""
    found = {}
    for before, kind, text in re.findall(r"(.*?)^```(\w+)\n(.*?)^```$", section, re.MULTILINE | re.DOTALL):
        if kind in ("python", "yaml"):
            path = re.findall(rf"`((?:myconf/)?[\w/]+\.{'py' if kind == 'python' else 'yaml'})`", before)[-1]
            found[path] = text
    return found


def command_of(section: str) -> str:
    return re.search(r"^python -m bmae_lightning (-cd myconf .*)$", section, re.MULTILINE)[1]


@pytest.fixture
def example(here, tmp_path, collection):
    """Writes the two files of a section, runs its command, and returns the store of finished stages."""

    def run(heading: str, *more: str, collection: Path | None = collection, **names: str) -> Path:
        for path, text in files_of(SECTIONS[heading]).items():
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).write_text(text, encoding="utf-8")
        line = command_of(SECTIONS[heading])
        for name, value in names.items():
            line = line.replace(name, value)
        corpus = ["corpus=beir", f"corpus.path={collection}"] if collection else []
        tiny = [option for option in SMALL if not (option == "encoder=tiny" and " encoder=" in line)]
        here(*shlex.split(line), *corpus, *tiny, *more)
        return tmp_path / "outputs" / "store"

    return run


def only(store: Path, stage: str) -> Path:
    """The directory of a stage that ran once."""
    (found,) = store.glob(f"{stage}-*")
    assert (found / "done").exists()
    return found


def config(directory: Path) -> dict:
    return json.loads((directory / "manifest.json").read_text())["config"]


def logged(directory: Path) -> list[dict]:
    return [json.loads(line) for line in (directory / "metrics.jsonl").read_text().splitlines()]


def test_each_example_is_one_python_and_one_yaml_file():
    assert len(SECTIONS) == len(TESTED)
    for heading, section in SECTIONS.items():
        assert heading in TESTED
        assert sorted(Path(path).suffix for path in files_of(section)) == [".py", ".yaml"], heading
        assert len(re.findall(r"^python -m", section, re.MULTILINE)) == 1


def test_a_mask(example):
    store = example("Add a mask policy", "stage=[pretrain]")
    pretrain = only(store, "pretrain")
    assert config(pretrain)["decoders"]["enhanced"]["mask"]["_target_"] == "longest.LongestWords"
    assert logged(pretrain)[-1]["mask_rate/enhanced"] == pytest.approx(0.3, abs=0.1)


def test_a_decoder(example):
    store = example("Add a decoder", "stage=[pretrain]")
    assert all(line["loss/positional"] > 0 for line in logged(only(store, "pretrain")) if "loss/enhanced" in line)


def test_a_representation(example):
    store = example("A representation")
    vectors = np.load(only(store, "evaluate") / "passages.npy", mmap_mode="r")
    assert vectors.shape == (60, 128)
    halves = vectors[:, :64], vectors[:, 64:]
    assert not np.allclose(*halves), "each half of a text has a mean of its own"


def test_a_family_of_encoders(example, tmp_path, collection):
    texts = [json.loads(line)["text"] for line in (collection / "corpus.jsonl").open()]
    write_family("prenorm", tmp_path / "model", bert_tokenizer(texts), max_position_embeddings=130)
    store = example("A family of encoders", f"encoder.name={tmp_path / 'model'}", "stage=[retriever1]")
    trained = json.loads((only(store, "retriever1") / "retriever" / "config.json").read_text())
    assert (trained["model_type"], trained["backbone_family"]) == ("roberta-prelayernorm", "prenorm.PreNorm")
    model, _ = load_dual_encoder(only(store, "retriever1") / "retriever")
    assert type(model.encoder.backbone) is sys.modules["prenorm"].PreNorm


def test_a_corruption(example):
    pretrain = only(example("A corruption", "stage=[pretrain]"), "pretrain")
    assert config(pretrain)["view"]["passage"]["corruption"] == {"_target_": "neighbours.LeftNeighbour"}
    shown = json.loads((pretrain / "samples.json").read_text())
    assert "[MASK]" not in json.dumps(shown)


def test_a_retriever_loss(example):
    retriever = only(example("A retriever loss", "stage=[retriever1]"), "retriever1")
    last = logged(retriever)[-1]
    assert last["loss"] == pytest.approx(last["loss/contrastive"] + 0.5 * last["loss/hinge"])
    assert 0 <= last["violations"] <= 1


def test_a_source_of_negatives(example):
    store = example("A source of negatives", "stage=[retriever1]")
    assert config(only(store, "retriever1"))["negatives"]["_target_"] == "lower.LowerNegatives"
    run = read_mined(only(store, "bm25")).found
    query, ranked = next(iter(run)), [passage for passage, _ in run[next(iter(run))]]
    found = sys.modules["lower"].LowerNegatives(skip=10, depth=30).of(run, {query: [ranked[3]]})
    assert found == {query: [*ranked[11:31]]}


def test_a_collection_format(example, tmp_path, collection):
    passages = [json.loads(line) for line in (collection / "corpus.jsonl").open()]
    queries = [json.loads(line) for line in (collection / "queries.jsonl").open()]
    file = tmp_path / "help.csv"
    rows = [f'"{query["text"]}","{passage["text"]}"' for query, passage in zip(queries, passages, strict=True)]
    file.write_text("question,answer\n" + "\n".join(rows) + "\n", encoding="utf-8")
    store = example("A collection format", collection=None, FILE=str(file))
    prepared = Prepared(only(store, "prepare"))
    assert (prepared.record["name"], prepared.record["passages"], prepared.splits) == ("help", 60, ["train", "test"])
    assert prepared.qrels("test")["q5"] == {"a5": 1}
    assert json.loads((only(store, "evaluate") / "metrics.json").read_text())["test"]["queries"] == 12


def test_an_index(example):
    evaluate = only(example("An index"), "evaluate")
    assert config(evaluate)["index"]["_target_"] == "chunks.ChunkIndex"
    draw = np.random.default_rng(0)
    passages, queries = draw.normal(size=(40, 8)).astype("f4"), draw.normal(size=(7, 8)).astype("f4")
    mine = sys.modules["chunks"].ChunkIndex(rows=9).search(passages, queries, 5)
    for found, expected in zip(mine, ExactIndex().search(passages, queries, 5), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_stage_with_a_table(example):
    report = only(example("A stage with a table in the report"), "report")
    assert "Lengths of passages" in (report / "report.html").read_text()
    for name in ("md", "tex", "csv"):
        assert any("word pieces at most" in path.read_text() for path in (report / "tables").glob(f"*.{name}"))


def test_a_measure(example):
    store = example("A measure")
    report = only(store, "report")
    assert "Failures@10" in (report / "report.html").read_text()
    value = json.loads((only(store, "evaluate") / "metrics.json").read_text())["test"]["mean"]["Failures@10"]
    assert 0 <= value <= 1
    heads, _, row = (report / "tables" / "measures.csv").read_text().splitlines()
    assert float(dict(zip(heads.split(","), row.split(","), strict=True))["Failures@10"]) == value


TESTED = [
    "A family of encoders",
    "Add a mask policy", "Add a decoder", "A corruption", "A retriever loss", "A representation",
    "A source of negatives", "A collection format", "An index", "A stage with a table in the report", "A measure",
]  # fmt: skip
"""Headings of the sections that have a test above."""
