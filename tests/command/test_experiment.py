"""From the composed configuration to the plan: what is dropped, what is refused, what fingerprints know of files."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from support.compose import composed as compose_resolved
from support.paths import CONF

from bmae_lightning.command import experiment, resolve
from bmae_lightning.command.experiment import take_corpus_options
from bmae_lightning.evaluation.measure.ranking import canonical, measures_of
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import BadInput


def composed(*overrides):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        return compose("config", overrides=["encoder=tiny", "corpus=beir", "corpus.path=x", *overrides])


def resolved(*overrides):
    return OmegaConf.to_container(composed(*overrides), resolve=True)


def hydra(*overrides):
    """What Hydra says of a command."""
    source = SimpleNamespace(path=str(CONF), schema="file")
    runtime = SimpleNamespace(config_sources=[source], choices={"experiment": "retromae"})
    return SimpleNamespace(overrides=SimpleNamespace(task=list(overrides)), runtime=runtime)


def test_what_is_asked_of_a_corpus_is_no_option_of_it():
    config = resolved("corpus.check=true", "+corpus.expected.passages=3")
    assert take_corpus_options(config) == {
        "check": True, "expected": {"passages": 3}, "evaluated": ["test"], "collection": None,
        "measures": ["RR@10", "nDCG@10", "R@50", "R@100", "R@1000"],
        "documents": None, "neighbours": "documents",
    }  # fmt: skip
    for corpus in (config["corpus"], config["prepare"]["corpus"]):
        assert set(corpus) == {"_target_", "path", "splits", "title", "tolerate"}


def test_a_collection_has_the_measures_of_its_papers_by_split():
    usual, graded = ["RR@10", "nDCG@10", "R@50", "R@100", "R@1000"], ["nDCG@10", "RR(rel=2)@10"]
    assert resolved()["measures"] == usual
    for corpus in ("msmarco", "msmarco_ir_datasets"):
        config = compose_resolved(f"corpus={corpus}")
        assert config["corpus"]["collection"] == "msmarco"
        for stage in ("bm25", "evaluate", "evaluate2", "rerank", "evaluate_distilled", "external", "report"):
            found = {split: measures_of(config[stage]["measures"], split) for split in config[stage]["splits"]}
            assert list(found) == ["dev", "dl19", "dl20"]
            assert found["dl19"] == found["dl20"] == canonical([*graded, "R(rel=2)@100", "R(rel=2)@1000"])
            assert found["dev"] == ["RR@10", "RR@100", "nDCG@10", "R@10", "R@50", "R@100", "R@1000"]
    found = resolved("corpus=nq")["measures"]
    assert measures_of(found, "dev") == measures_of(found, "test") == [f"answer_R@{k}" for k in (10, 20, 30, 50, 100)]
    assert measures_of(found, "train") == usual


@pytest.mark.parametrize("corpus", ["beir", "msmarco", "nq"])
def test_measures_that_are_named_are_those_of_all_splits(corpus, tmp_path):
    """On the command line, in a YAML of one's own, and written out by Hydra's --resolve."""
    measures = ["RR@10", "R(rel=2)@1000"]
    for override in ("measures=[RR@10,'R(rel=2)@1000']", "corpus.measures=[RR@10,'R(rel=2)@1000']"):
        assert resolved(f"corpus={corpus}", override)["evaluate2"]["measures"] == measures
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine.yaml").write_text(f"# @package _global_\nmeasures: {measures}\n")
    cfg = composed(f"hydra.searchpath=[file://{tmp_path}]", f"corpus={corpus}", "+own=mine")
    assert OmegaConf.to_container(cfg.bm25, resolve=True)["measures"] == measures
    OmegaConf.resolve(cfg)


@pytest.mark.parametrize("corpus", ["msmarco", "nq"])
def test_passages_have_the_titles_of_the_paper(corpus):
    def title(*overrides):
        return resolved(f"corpus={corpus}", *overrides)["prepare"]["corpus"]["title"]

    paper = "scale=paper", "+experiment=retromae"
    assert title("+experiment=retromae") == {"msmarco": "drop", "nq": "prepend"}[corpus]
    assert title(*paper) == "pair"
    assert title(*paper, "paper.title=prepend") == "prepend"
    assert title(*paper, "corpus.title=drop") == "drop", "the user's word is the last"
    config = resolved("corpus=files", "corpus@general.corpus=msmarco", *paper)
    assert (config["general"]["corpus"]["title"], config["corpus"]["title"]) == ("pair", "prepend")


def test_natural_questions_can_stand_anywhere():
    config = resolved("corpus=msmarco", "corpus@general.corpus=nq", "general.corpus.path=y")
    assert config["general"]["corpus"]["_target_"].endswith("DprCorpus")
    assert config["measures"][-1]["dl19"][0] == "nDCG@10", "the measures are those of the corpus"
    take_corpus_options(config)
    assert config["general"]["corpus"].keys() == build(config["general"]["corpus"]).options().keys() | {"_target_"}


def test_settings_of_decoders_that_are_left_out_are_dropped():
    cfg = composed("+experiment=dupmae", "decoders=[bag_of_words]")
    assert set(cfg.decoders) == {"bag_of_words", "enhanced"}
    resolve._drop_unselected(cfg, hydra("decoders=[bag_of_words]"), "decoders", "decoders")
    assert set(cfg.decoders) == {"bag_of_words"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+decoders.skip.layers=1", "decoders.skip is set but not selected: add skip to decoders="),
        ("+decoders.skp.layers=1", "decoders.skp is no known instance; did you mean 'skip'"),
    ],
)
def test_settings_that_nothing_reads_are_refused(override, message):
    with pytest.raises(BadInput, match=message):
        resolve._drop_unselected(composed(override), hydra(override), "decoders", "decoders")


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+until=retriever2", r"\+until=retriever2: there is no group 'until'; use rungs=2"),
        ("+until=reranker", "use rungs=3"),
        ("+table=retromae_6", "there is no group 'table' .*need -cd experiments"),
        ("+experimet=simlm", "there is no group 'experimet'.*; did you mean 'experiment'"),
    ],
)
def test_a_group_that_is_not_there_is_refused(override, message):
    key, value = override[1:].split("=")
    with pytest.raises(BadInput, match=message):
        resolve._check_groups({key: value}, hydra(override))


def test_groups_that_are_there_are_not():
    resolve._check_groups({"experiment": "x", "name": "x"}, hydra("+experiment=retromae", "name=x"))


def test_the_content_of_the_users_files_counts(tmp_path: Path):
    path = tmp_path / "run.trec"
    path.write_text("q1 Q0 p1 1 1.0 t\n")
    options = ["negatives=file", f"negatives.path={path}"]
    before = experiment._files(resolved(*options))
    assert before.keys() == {"retriever1"}
    path.write_text("q1 Q0 p2 1 1.0 t\n")
    assert experiment._files(resolved(*options)) != before
    assert experiment._files(resolved()) == {}


def test_messages_name_the_key_that_is_set():
    overrides = ["corruption@view.passage.corruption=replace", "generator=scratch"]
    cfg = composed(*overrides)
    origins = experiment._origins(cfg, OmegaConf.to_container(cfg, resolve=True))
    assert origins["pretrain"]["generator"] == "generator", "required by the corruption"
    assert origins["pretrain"]["view"] == "view"
    assert origins["retriever1"]["negatives"] == "negatives"
    assert origins["evaluate2"]["index"] == "evaluate.index", "followed"
    assert "lr" not in origins["retriever1"]
