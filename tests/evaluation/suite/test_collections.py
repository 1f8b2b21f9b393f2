"""Which collections are meant: names of sets, names below a path, directories, folders that count as one."""

import pytest
import yaml
from support.paths import CONF

from bmae_lightning.corpus.beir import BeirCorpus
from bmae_lightning.evaluation.suite.collections import DataSets, Group
from bmae_lightning.runtime.errors import BadInput

SETS = {"all": {"first": "First", "forums": "Forums", "last": "Last"}, "few": {"first": "First", "last": "Last"}}
SUITE = CONF / "stages" / "suite.yaml"


@pytest.fixture
def root(tmp_path):
    for name in ("last", "first", "own", "forums/a", "forums/b"):
        (tmp_path / name / "qrels").mkdir(parents=True)
        (tmp_path / name / "corpus.jsonl").write_text('{"_id": "p", "title": "T", "text": " "}\n')
    return tmp_path


def data_sets(path, **options):
    given = {"split": "test", "titles": "prepend", "sets": SETS, "parts": {"forums": ["a", "b"]}} | options
    return DataSets(None if path is None else str(path), **given)


def names(benchmark):
    return [data_set.name for data_set in benchmark.data_sets]


def test_the_order_is_that_of_the_papers_and_own_collections_come_behind(root):
    found = data_sets(root).find([str(root / "own"), "last", str(root / "first")])
    assert names(found) == ["First", "Last", "own"]
    assert found.groups == [Group("", ["First", "Last", "own"], [])]


def test_a_named_set_has_a_mean_of_its_own_and_names_what_is_missing(root):
    found = data_sets(root).find(["all", "own"])
    assert names(found) == ["First", "Forums", "Last", "own"]
    assert found.groups == [Group("all", ["First", "Forums", "Last"], [])]
    assert list(found.data_sets[1].parts) == ["a", "b"]
    for file in (root / "last").rglob("*"):
        file.unlink() if file.is_file() else None
    (root / "last" / "qrels").rmdir()
    (root / "last").rmdir()
    found = data_sets(root).find(["all", "few"])
    assert names(found) == ["First", "Forums"]
    assert found.groups == [Group("all", ["First", "Forums"], ["Last"]), Group("few", ["First"], ["Last"])]


def test_collections_are_read_as_published(root):
    (collection,) = data_sets(None).find([str(root / "own")]).data_sets[0].parts.values()
    assert [passage.content for passage in collection.passages()] == ["T"]
    (collection,) = data_sets(None, titles="drop").find([str(root / "own")]).data_sets[0].parts.values()
    assert [passage.content for passage in collection.passages()] == [""], "an empty passage stays in the corpus"
    given = BeirCorpus(str(root / "own"))
    assert data_sets(None).find([given]).data_sets[0].parts == {"": given}


def test_mistakes_are_one_line(root):
    with pytest.raises(BadInput, match=r"suite.collections=all needs suite.path=DIR.*first, forums, last"):
        data_sets(None).find(["all"])
    with pytest.raises(BadInput, match=r"'frist' is no directory, nor is it in .*did you mean 'first'"):
        data_sets(root).find(["frist"])
    with pytest.raises(BadInput, match=r"'/nowhere' is no directory; give one, or one of all, few"):
        data_sets(None).find(["/nowhere"])
    with pytest.raises(BadInput, match="'own' comes twice"):
        data_sets(root).find(["own", str(root / "own")])
    with pytest.raises(BadInput, match="holds none of the collections of all"):
        data_sets(root / "own").find(["all"])
    with pytest.raises(BadInput, match=r"forums in .* is the mean of 3 collections, and c is not there"):
        data_sets(root, parts={"forums": ["a", "b", "c"]}).find(["forums"])


def test_the_papers_sets():
    suite = yaml.safe_load(SUITE.read_text())["suite"]
    eighteen, fourteen = (list(suite["sets"][name].items()) for name in ("beir18", "beir14"))
    assert (len(eighteen), len(fourteen)) == (18, 14)
    left_out = [shown for member, shown in eighteen if (member, shown) not in fourteen]
    assert left_out == ["BioASQ", "Signal-1M(RT)", "TREC-NEWS", "Robust04"]
    assert [item for item in eighteen if item in fourteen] == fourteen
    assert len(suite["parts"]["cqadupstack"]) == len(set(suite["parts"]["cqadupstack"])) == 12


def test_beir_through_ir_datasets():
    suite = yaml.safe_load(SUITE.read_text())["suite"]
    found = data_sets("ir_datasets", sets=suite["sets"], parts=suite["parts"]).find(["beir18", "beir14"])
    assert [group.missing for group in found.groups] == [["BioASQ", "Signal-1M(RT)", "TREC-NEWS", "Robust04"], []]
    parts = {data_set.name: data_set.parts for data_set in found.data_sets}
    assert list(parts) == list(suite["sets"]["beir14"].values())
    assert {part.name for part in parts["CQADupStack"].values()} == {
        f"beir/cqadupstack/{forum}" for forum in suite["parts"]["cqadupstack"]
    }
    ids = {"SciFact": "beir/scifact/test", "ArguAna": "beir/arguana"}
    for name, id in ids.items():
        assert parts[name][""].splits() == ["test"]
        assert parts[name][""].options()["splits"] == {"test": id}
    assert names(data_sets("ir_datasets").find(["scifact"])) == ["scifact"]
    with pytest.raises(BadInput, match="nor is it in ir_datasets; did you mean 'scifact'"):
        data_sets("ir_datasets").find(["scifat"])
