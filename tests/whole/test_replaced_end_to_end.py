"""Replaced language modelling and SimLM's Table 7 through the stages, on a small collection with a tiny encoder."""

import json

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from support.paths import CONF

from bmae_lightning.command.experiment import take_corpus_options
from bmae_lightning.command.pipeline import Pipeline
from bmae_lightning.command.plan import plan
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import BadInput

SMALL = [
    "corpus=beir", "encoder=tiny", "encoder.layers=3", "stage=[pretrain]", "baseline=false",
    "logger=none", "pretrain.steps=4", "pretrain.batch_size=8", "pretrain.length=32", "masked_lm.steps=4",
    "masked_lm.encoder.width=32",
]  # fmt: skip
SCRATCH = [
    "generator=scratch",
    "generator.layers=1",
    "generator.width=16",
    "generator.heads=2",
    "generator.embedding=8",
]


@pytest.fixture(scope="module")
def pretrain(collection, tmp_path_factory):
    """Runs prepare, perhaps masked_lm, and pretrain in this process; returns the nodes and pretrain's logged steps."""
    output_dir = tmp_path_factory.mktemp("outputs")

    def run(*overrides):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            cfg = compose("config", overrides=[*SMALL, f"corpus.path={collection}", *overrides])
        config = OmegaConf.to_container(cfg, resolve=True)
        config["output_dir"] = str(output_dir)
        take_corpus_options(config)
        corpus = build(config["corpus"], "corpus")
        nodes = plan(config, config["name"], {"prepare": corpus.identity()})
        Pipeline(nodes, config["name"], output_dir, {}, corpus.splits()).run()
        lines = (nodes[f"pretrain@{config['name']}"].directory / "metrics.jsonl").read_text().splitlines()
        return nodes, [json.loads(line) for line in lines]

    return run


@pytest.mark.parametrize(
    ("arguments", "losses", "stages"),
    [
        (["+experiment=simlm"], {"encoder/passage", "shallow"}, 3),
        (["+experiment=simlm", "generator.train=true"], {"encoder/passage", "generator/passage", "shallow"}, 3),
        (["+experiment=simlm", *SCRATCH], {"encoder/passage", "generator/passage", "shallow"}, 2),
        (["+experiment=encdec_rtd"], {"encoder/passage", "replaced_token_detection"}, 3),
        (["+experiment=encdec_mlm"], {"encoder/passage", "shallow"}, 2),
        (["+experiment=mlm"], {"encoder/passage"}, 2),
        (["+experiment=autoencoder"], {"shallow"}, 2),
        (["corruption@view.passage.corruption=replace"], {"encoder/passage", "enhanced"}, 3),
    ],
    ids=["simlm", "joint", "random_init", "encdec_rtd", "encdec_mlm", "mlm", "autoencoder", "override"],
)
def test_stages(pretrain, arguments, losses, stages):
    nodes, lines = pretrain(*arguments)
    assert len(nodes) == stages
    assert ("masked_lm" in nodes) == (stages == 3)
    assert len(lines) == 4
    for line in lines:
        assert {name.removeprefix("loss/") for name in line if name.startswith("loss/")} == losses
        assert 0 < line["loss"] < 100
    directory = next(node.directory for key, node in nodes.items() if key.startswith("pretrain"))
    assert (directory / "encoder" / "model.safetensors").is_file()
    assert len(json.loads((directory / "samples.json").read_text())) == 4


def test_a_checkpoint_as_generator(pretrain):
    """What the stage trained serves as well by its directory; then the stage is not needed."""
    made, by_stage = pretrain("+experiment=simlm")
    directory = made["masked_lm"].directory / "encoder"
    nodes, by_name = pretrain("+experiment=simlm", "generator=hf", f"generator.name={directory}")
    assert "masked_lm" not in nodes
    assert [line["loss"] for line in by_name] == [line["loss"] for line in by_stage]


def test_another_vocabulary_is_one_line(pretrain):
    made, _ = pretrain("+experiment=simlm")
    directory = made["masked_lm"].directory / "encoder"
    other = ["+experiment=simlm", "generator=hf", f"generator.name={directory}", "encoder.tokenizer.size=300"]
    with pytest.raises(
        BadInput, match=r"generator.name=\S+: the generator has \d+ word pieces.*generator=corpus"
    ) as error:
        pretrain(*other)
    assert "\n" not in str(error.value)


def test_what_is_needed_and_what_is_refused(pretrain):
    nodes, _ = pretrain("+experiment=simlm", "stage=[pretrain]", "masked_lm.steps=3")
    assert list(nodes) == ["prepare", "masked_lm", "pretrain@simlm"]
    assert all(node.done for node in nodes.values())
    with pytest.raises(BadInput, match="pretrain: generator.train: .* no view has the corruption `replace`"):
        pretrain("+experiment=simlm", "corruption@view.passage.corruption=bert", "generator.train=true")
    with pytest.raises(BadInput, match="generator: temperature must be above 0, got 0"):
        pretrain("+experiment=simlm", "generator.temperature=0")
