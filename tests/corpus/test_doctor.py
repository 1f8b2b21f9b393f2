"""The doctor: everything it can find in one folder, and the command that asks for it."""

import re
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import OmegaConf
from support.msmarco_files import TEXTS, write_msmarco

from bmae_lightning.command.experiment import take_corpus_options
from bmae_lightning.command.plan import plan
from bmae_lightning.corpus.doctor import ERROR, OK, WARNING, examine, table
from bmae_lightning.corpus.files import FileCorpus
from bmae_lightning.runtime.configuration import config_directory
from bmae_lightning.runtime.table import text

SPLITS = {
    "train": {"queries": "queries.train.tsv", "qrels": "qrels.train.tsv"},
    "dl19": {"queries": "msmarco-test2019-queries.tsv", "qrels": "2019qrels-pass.txt"},
}


@pytest.fixture
def folder(tmp_path):
    return write_msmarco(tmp_path / "msmarco")


def examined(folder: Path, expected=None, vector_bytes=3072, **options):
    corpus = FileCorpus(str(folder), "collection.tsv", SPLITS, **options)
    return {finding.what: finding for finding in examine(corpus, expected, vector_bytes, folder / "outputs")}


def test_a_sound_folder(folder):
    found = examined(folder)
    assert {finding.grade for finding in found.values()} == {OK}
    assert (found["passages"].found, found["train: judged queries"].found, found["dl19: judgments"].found) == (
        12,
        3,
        5,
    )


def test_counts_against_the_published(folder):
    splits = {"train": {"queries": 3, "judgments": 4}, "dl19": {"queries": 2, "judgments": 5}, "dl20": {"queries": 54}}
    found = examined(folder, {"passages": 12, "splits": splits})
    assert {name: finding.grade for name, finding in found.items() if finding.published} == {
        "passages": OK, "train: judged queries": OK, "train: judgments": ERROR, "dl19: judged queries": OK,
        "dl19: judgments": OK, "dl20: judged queries": WARNING,
    }  # fmt: skip
    assert (found["train: judgments"].found, found["train: judgments"].published) == (3, 4)


def test_odd_texts(folder):
    texts = [*TEXTS, "an \xc3\xa9tude", "it\xe2\u20ac\u2122s", "an \xe9tude \u2013 na\xefve caf\xe9, it\u2019s",
             "bell \x07", "lost \ufffd", TEXTS[0], ""]  # fmt: skip
    (folder / "collection.tsv").write_text("".join(f"{i}\t{text}\n" for i, text in enumerate(texts)), encoding="utf-8")
    with (folder / "2019qrels-pass.txt").open("a") as file:
        file.write("47923 Q0 77 1\n19335 Q0 3 0\n1 Q0 3 0\n")
    found = examined(folder, tolerate=["empty", "unknown"])
    assert {name: finding.found for name, finding in found.items() if finding.grade == WARNING} == {
        "passages without text": 1,
        "passages with the text of another": 1,
        "passages with doubly encoded characters": 2,
        "passages with control or lost characters": 2,
        "dl19: queries without a relevant passage": 1,
        "dl19: judgments of passages that are not there": 1,
    }
    assert found["passages with doubly encoded characters"].note == "the first is '12'"


def test_every_kind_of_broken_line_is_listed(folder):
    lines = "".join(f"{i}\t{text}\n" for i, text in enumerate(TEXTS)).encode()
    (folder / "collection.tsv").write_bytes(lines + b"0\tagain\n1\tagain\n12\tcaf\xe9\n13\n")
    (folder / "qrels.train.tsv").write_text("1048585\t0\t99\t1\nnobody\t0\t1\t1\n121352\t0\t1\t1\n121352\t0\t1\t0\n")
    found = examined(folder)
    errors = {name: finding for name, finding in found.items() if finding.grade == ERROR}
    assert {name: finding.found for name, finding in errors.items()} == {
        "broken: duplicate": 2, "broken: encoding": 1, "broken: columns": 1, "broken: contradiction": 1,
        "broken: unknown in collection.tsv": 1, "broken: unknown in queries.train.tsv": 1,
    }  # fmt: skip
    assert "collection.tsv:13: id '0' was used before" in errors["broken: duplicate"].note
    (folder / "qrels.train.tsv").write_text("")
    stopped = examined(folder)
    assert "has no judgments" in stopped["reading stopped"].note
    assert "broken: encoding" in stopped


def test_a_broken_query_leaves_the_counts_and_another_text_is_found(folder):
    queries = (folder / "queries.train.tsv").read_text()
    (folder / "queries.train.tsv").write_text(queries + "broken\n")
    found = examined(folder)
    assert (found["broken: columns"].found, found["train: judged queries"].found) == (1, 3)
    (folder / "queries.train.tsv").write_text(queries + "19335\tanother text\n")
    with (folder / "qrels.train.tsv").open("a") as file:
        file.write("19335\t0\t1\t1\n")
    assert "query '19335' has another text" in examined(folder)["reading stopped"].note


def test_disk(folder):
    found = examined(folder, vector_bytes=10**15)
    assert found["disk for vectors of 1,000,000,000,000,000 bytes"].found == "12,000,000.00 GB"
    assert found["disk free for both"].grade == ERROR
    assert "output_dir=DIR" in text(table(list(found.values())))


def test_the_command_prints_and_ends(cli_here, tmp_path, collection):
    output = cli_here("stage=[prepare]", "corpus.check=true", code=0)
    assert "corpus.check of beir (titles: prepend), train, test" in output
    assert "train: judged queries" in output
    assert not (tmp_path / "outputs" / "store").exists()
    output = cli_here("stage=[prepare]", "corpus.check=true", "corpus.expected={passages: 61}", code=2)
    assert re.search(r"^passages +60 +61 +ERROR$", output, re.MULTILINE)
    assert output.splitlines()[-1] == "error: corpus.check found 1 error, marked ERROR above"


def prepare_node(*overrides):
    """The planned prepare stage of a composed command."""
    GlobalHydra.instance().clear()
    with initialize_config_dir(str(config_directory()), version_base="1.3"):
        cfg = compose(
            "config", overrides=["stage=[prepare]", "corpus=beir", "corpus.path=x", "encoder=tiny", *overrides]
        )
    config = OmegaConf.to_container(cfg, resolve=True)
    take_corpus_options(config)
    return plan(config, "arm", {})["prepare"]


def test_asking_changes_no_fingerprint():
    node = prepare_node()
    assert (
        prepare_node("corpus.check=true", "corpus.expected={passages: 7}", "corpus.evaluated=[dev]").hash == node.hash
    )
    assert set(node.config["corpus"]) == {"_target_", "path", "splits", "title", "tolerate"}
    for other in ("corpus.title=drop", "corpus.tolerate=[empty]", "corpus.splits=[test]"):
        assert prepare_node(other).hash != node.hash
