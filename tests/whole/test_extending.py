"""Every kind of part in two files: the texts of README.md and docs/extending.md, run from a directory of one's own.

Each example is written where its text says, outside the package, and its command is run on the small collection with a
tiny encoder and nothing else edited.
"""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from support.paths import ROOT

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
        here(*shlex.split(line), *corpus, *SMALL, *more)
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
    print(logged(pretrain))
    assert logged(pretrain)[-1]["mask/enhanced"] == pytest.approx(0.3, abs=0.1)


def test_a_decoder(example):
    store = example("Add a decoder", "stage=[pretrain]")
    assert all(line["loss/positional"] > 0 for line in logged(only(store, "pretrain")) if "loss/enhanced" in line)


def test_a_representation(example):
    store = example("A representation")
    vectors = np.load(only(store, "evaluate") / "passages.npy", mmap_mode="r")
    assert vectors.shape == (60, 128)
    halves = vectors[:, :64], vectors[:, 64:]
    assert not np.allclose(*halves), "each half of a text has a mean of its own"


def test_a_source_of_negatives(example):
    store = example("A source of negatives", "negatives.skip=57", "stage=[retriever1]")
    found = json.loads((only(store, "retriever1") / "metrics.json").read_text())
    print(found)


def test_a_collection_format(example, tmp_path, collection):
    passages = [json.loads(line) for line in (collection / "corpus.jsonl").open()]
    queries = [json.loads(line) for line in (collection / "queries.jsonl").open()]
    file = tmp_path / "help.csv"
    rows = [f'"{query["text"]}","{passage["text"]}"' for query, passage in zip(queries, passages, strict=True)]
    file.write_text("question,answer\n" + "\n".join(rows) + "\n", encoding="utf-8")
    store = example("A collection format", collection=None, FILE=str(file))
    prepared = json.loads((only(store, "prepare") / "corpus.json").read_text())
    print(prepared)
    measured = json.loads((only(store, "evaluate") / "metrics.json").read_text())
    print(measured)


TESTED = [
    "Add a mask policy", "Add a decoder", "A representation", "A source of negatives", "A collection format",
]  # fmt: skip
"""Headings of the sections that have a test above."""
