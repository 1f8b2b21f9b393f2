"""Every recipe goes with every experiment at every scale, and has the numbers of its paper at scale=paper."""

from functools import cache
from itertools import cycle

import pytest
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from support import quick_hydra
from support.dpr_files import write_dpr
from support.paths import CONF

from bmae_lightning.command.experiment import take_corpus_options
from bmae_lightning.command.plan import plan, read_entry
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import BadInput

EXPERIMENTS, SCALES, RECIPES = (
    sorted(path.stem for path in (CONF / group).glob("*.yaml")) for group in ("experiment", "scale", "recipe")
)
PAIRS = [(recipe, scale) for recipe in RECIPES for scale in SCALES]
FINETUNING = ("retriever1", "retriever2", "reranker", "distilled")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    quick_hydra.quicken(monkeypatch)


@cache
def composed(*overrides):
    """Composed once: not to be changed."""
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_container(compose("config", overrides=list(overrides)), resolve=True)
    take_corpus_options(config)
    return config


@pytest.mark.parametrize(("pair", "experiment"), zip(PAIRS, cycle(EXPERIMENTS), strict=False))
def test_recipes_experiments_and_scales_compose(pair, experiment, tmp_path):
    recipe, scale = pair
    config = composed(f"recipe={recipe}", f"scale={scale}", f"+experiment={experiment}", f"output_dir={tmp_path}")
    assert config["name"] == experiment
    for stage in FINETUNING:
        assert (config[stage]["steps"] is None) != (config[stage]["epochs"] is None), stage
    nodes = plan(config, experiment, {})
    arms = {experiment, "none"}
    for stage in ("retriever1", "evaluate", *FINETUNING[: config["rungs"]]):
        assert {f"{stage}@{arm}" for arm in arms} <= set(nodes)
    for node in nodes.values():
        if node.stage in ("retriever1", "retriever2", "reranker", "distilled", "score"):
            made = build(node.config, node.stage)
            made.name = node.stage
            inputs = {role: key and nodes[key] for role, key in node.inputs.items()}
            made.check_inputs(inputs)


def test_negatives_of_a_collections_own_need_a_collection_that_has_them(tmp_path):
    """MASTER's script for Natural Questions takes DPR's."""
    released = "+experiment=master", "reading=code", "scale=paper"
    nodes = plan(composed(*released, "corpus=nq", f"corpus.path={write_dpr(tmp_path)}"), "m", {})
    node = nodes["retriever1@m"]
    build(node.config, "retriever1").check_inputs({role: key and nodes[key] for role, key in node.inputs.items()})
    nodes = plan(composed("retriever1.inputs.ranking=prepare"), "m", {})
    made = build(nodes["retriever1@m"].config, "retriever1")
    with pytest.raises(BadInput, match="the corpus comes without hard negatives of its own; .* such as bm25"):
        made.check_inputs({role: key and nodes[key] for role, key in nodes["retriever1@m"].inputs.items()})


def keys(path, package=""):
    """Dotted names of what a YAML sets."""

    def walk(node, name):
        if isinstance(node, dict):
            return {key for part, value in node.items() for key in walk(value, f"{name}.{part}")}
        return {name}

    content = yaml.safe_load(path.read_text()) or {}
    return walk({key: value for key, value in content.items() if key != "defaults"}, package)


def climbed(config):
    """The planned stages of the arm with pre-training and of all arms, in order, and how deep each of them mines."""
    nodes = plan(config | {"baseline": False}, config["name"], {}).values()
    return {node.stage: node.config.get("train_depth") for node in nodes}


@pytest.mark.parametrize("recipe", RECIPES)
def test_recipes_and_experiments_set_nothing_in_common(recipe):
    own = set().union(*(keys(path) for path in CONF.glob(f"recipe/**/{recipe}.yaml")))
    for experiment in EXPERIMENTS:
        assert not own & keys(CONF / "experiment" / f"{experiment}.yaml")


def test_without_a_recipe_there_is_retriever_1_only():
    config = composed("+experiment=retromae")
    assert list(climbed(config)) == ["prepare", "pretrain", "bm25", "retriever1", "evaluate", "report"]
    assert climbed(config)["evaluate"] == 0
    assert composed("+experiment=retromae", "recipe=retriever1", "mask_known_positives=false") == config


@pytest.mark.parametrize(
    ("experiment", "recipe", "batch"),
    [
        ("master", "master", (64, 16)),
        ("dupmae", "dupmae", (128, 1)),
        ("simlm", "simlm", (64, 16)),
        ("cdmae", "cdmae", (64, 32)),
    ],
)
def test_a_papers_main_experiment_climbs_its_ladder_unless_told_otherwise(experiment, recipe, batch):
    """`recipe=` on the command line wins, and the numbers of the scale follow the recipe either way."""
    usual = composed(f"+experiment={experiment}", "scale=paper")
    assert list(climbed(usual))[-3:] == ["distilled", "evaluate_distilled", "report"]
    assert (usual["retriever1"]["batch_size"], usual["retriever1"]["train_group_size"]) == batch
    assert usual["retriever1"]["warmup"] == (0 if recipe == "dupmae" else 1000)
    assert usual["distilled"]["losses"] == composed(f"recipe={recipe}")["distilled"]["losses"]
    first = composed(f"+experiment={experiment}", "scale=paper", "recipe=retriever1")["retriever1"]
    plain = composed("scale=paper", "recipe=retriever1")["retriever1"]
    assert first | {"encoder": None} == plain | {"encoder": None}


def test_a_ladder_can_be_left_early():
    """The rungs of the recipe, with its numbers, and no mining whose result no stage reads."""
    whole = composed("+experiment=simlm", "scale=paper")
    stages = list(climbed(whole))
    for rungs, (last, mining) in enumerate([("evaluate", 0), ("evaluate2", 0), ("rerank", 200)], 1):
        config = composed("+experiment=simlm", "scale=paper", f"rungs={rungs}")
        depths = climbed(config)
        assert list(depths) == [*stages[: stages.index(last) + 1], "report"]
        assert depths["evaluate"] == (0 if rungs == 1 else 200)
        assert depths.get("evaluate2", mining) == mining
        assert all(config[stage] == whole[stage] for stage in ("retriever1", "retriever2", "reranker", "rerank"))
    assert climbed(whole)["evaluate_distilled"] == 0


@pytest.mark.parametrize(
    ("recipe", "stage", "wanted"),
    [
        (
            "simlm",
            "retriever2",
            {"batch_size": 64, "train_group_size": 16, "lr": 2e-5, "temperature": 0.02},
        ),
        (
            "simlm",
            "reranker",
            {
                "backbone": "google/electra-base-discriminator",
                "train_group_size": 64,
                "forward_factor": 1,
                "r_drop": False,
                "length": 192,
                "lr": 3e-5,
            },
        ),
        ("simlm", "distilled", {"train_group_size": 24, "epochs": 6, "similarity": "cos"}),
        ("retromae_dpr", "retriever1", {"batch_size": 128, "epochs": 4, "warmup": 0, "passage_length": 140}),
        ("retromae_ance", "retriever2", {"batch_size": 128, "epochs": 4, "warmup": 0, "train_group_size": 16}),
        (
            "retromae_distilled",
            "reranker",
            {
                "backbone": "google-bert/bert-base-uncased",
                "train_group_size": 65,
                "batch_size": 16,
                "weight_decay": 0.01,
                "lr": 1e-5,
            },
        ),
        ("dupmae", "retriever1", {"train_group_size": 1, "similarity": "dot"}),
        ("dupmae", "retriever2", {"train_group_size": 16}),
        ("cdmae", "retriever1", {"batch_size": 64, "train_group_size": 32}),
        ("cdmae", "distilled", {"batch_size": 32, "train_group_size": 64}),
        (
            "master",
            "retriever2",
            {"epochs": 3, "lr": 2e-5, "train_group_size": 16, "shared": True, "similarity": "cos"},
        ),
        ("master", "distilled", {"epochs": 6, "batch_size": 64, "train_group_size": 24, "lr": 3e-5}),
    ],
)
def test_numbers_of_the_papers(recipe, stage, wanted):
    config = composed(f"recipe={recipe}", "scale=paper")
    assert {key: config[stage][key] for key in wanted} == wanted


NQ = ("corpus=nq", "corpus.path=DIR", "scale=paper")


@pytest.mark.parametrize(
    ("overrides", "stage", "wanted"),
    [
        (("recipe=simlm", "scale=laptop", "reading=code"), "reranker", {"forward_factor": 2, "r_drop": True}),
        (("recipe=simlm", "scale=paper", "reading=code"), "reranker", {"forward_factor": 4, "r_drop": True}),
        (
            (*NQ, "recipe=simlm"),
            "retriever1",
            {"steps": 20000, "epochs": None, "lr": 5e-6, "passage_length": 192, "positives": "labelled"},
        ),
        ((*NQ, "recipe=simlm"), "reranker", {"epochs": 3, "train_group_size": 64, "length": 192, "forward_factor": 1}),
        ((*NQ, "recipe=simlm"), "distilled", {"steps": 20000, "epochs": None, "lr": 5e-6, "train_group_size": 24}),
        ((*NQ, "recipe=simlm", "reading=code"), "retriever2", {"steps": 20000, "lr": 1e-5, "temperature_warmup": 1000}),
        (
            (*NQ, "recipe=simlm", "reading=code"),
            "reranker",
            {"steps": 20000, "epochs": None, "train_group_size": 32, "length": 224},
        ),
        (
            (*NQ, "recipe=simlm", "reading=code"),
            "distilled",
            {"steps": None, "epochs": 15, "lr": 3e-5, "positives": "answers"},
        ),
        (
            ("recipe=master", "scale=paper", "reading=code"),
            "retriever2",
            {"steps": 40000, "lr": 5e-6, "train_group_size": 32, "shared": False, "passage_length": 128},
        ),
        (
            ("recipe=master", "scale=paper", "reading=code"),
            "distilled",
            {"steps": 25000, "batch_size": 512, "train_group_size": 42, "lr": 5e-6},
        ),
        ((*NQ, "recipe=master"), "retriever2", {"steps": 20000, "lr": 5e-6, "passage_length": 192, "shared": True}),
        (
            (*NQ, "recipe=master", "reading=code"),
            "retriever2",
            {"batch_size": 128, "steps": 50000, "train_group_size": 2, "query_length": 128, "positives": "first"},
        ),
    ],
)
def test_numbers_by_reading_and_collection(overrides, stage, wanted):
    config = composed(*overrides)
    assert {key: config[stage][key] for key in wanted} == wanted


def test_who_starts_from_whom_and_what_is_distilled_how():
    for recipe, second, third, kind, alpha, form in [
        ("ladder", None, None, "kl", 0.2, "plain"),
        ("simlm", None, None, "kl", 0.2, "eq3_literal"),
        ("dupmae", "retriever1", "retriever2", "soft_cross_entropy", 0.0, "plain"),
        ("retromae_distilled", "retriever1", "retriever2", "kl", 0.0, "plain"),
        ("master", None, None, "kl", 0.2, "eq3_literal"),
    ]:
        config = composed(f"recipe={recipe}")
        assert config["retriever2"]["inputs"]["retriever"] == second
        assert config["distilled"]["inputs"]["retriever"] == third
        losses = config["distilled"]["losses"]
        assert (losses["distillation"]["kind"], losses["contrastive"]["weight"]) == (kind, alpha)
        stages = ("retriever1", "retriever2", "distilled")
        assert [config[stage]["losses"]["contrastive"]["form"] for stage in stages] == 3 * [form]
        assert config["score"]["depth"] == config["distilled"]["negatives"]["depth"]
    assert composed("recipe=dupmae")["representation"]["pooling"] == "mean"
    assert composed("recipe=dupmae", "encoder=tiny")["representation"]["pooling"] == "cls"


def options(node, name=""):
    """The options of a stage by dotted name, without planning keys."""
    if isinstance(node, dict):
        return {key: value for part, inner in node.items() for key, value in options(inner, f"{name}.{part}").items()}
    return {name: node}


MINING = (".negatives", ".refresh.every_steps", ".refresh.every_epochs")


@pytest.mark.parametrize(
    ("stage", "followed", "own"),
    [
        ("retriever2", "retriever1", MINING),
        ("distilled", "retriever2", (*MINING, ".losses", ".train_group_size")),
        ("evaluate2", "evaluate", ()),
        ("evaluate_distilled", "evaluate", ()),
    ],
)
def test_a_stage_that_follows_another_has_its_options_unless_they_are_set(stage, followed, own):
    def followed_options(config, name):
        found = options(read_entry(config[name]).options)
        return {key: value for key, value in found.items() if not key.startswith(own)}

    plain = followed_options(composed(), followed)
    assert followed_options(composed(), stage) == plain
    elsewhere = (".seed", ".encoder.", ".optim.", ".trainer.", ".train_queries.", ".representation.")
    numbers = [key for key, value in plain.items() if type(value) is int and not key.startswith(elsewhere)]
    assert len(numbers) >= 5
    changed = composed(*(f"{followed}{key}=7" for key in numbers))
    assert {key: options(changed[stage])[key] for key in numbers} == dict.fromkeys(numbers, 7)
    for key in numbers:
        config = composed(f"{stage}{key}=3")
        assert followed_options(config, followed) == plain
        assert followed_options(config, stage) == plain | {key: 3}
