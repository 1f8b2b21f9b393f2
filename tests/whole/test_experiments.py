"""Every experiment composes at every scale, and so does every ablation that is an override."""

import pytest
from support.compose import composed
from support.paths import CONF

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
SCALES = sorted(path.stem for path in (CONF / "scale").glob("*.yaml"))


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_every_experiment_composes_at_every_scale(experiment, scale):
    config = composed(f"+experiment={experiment}", f"scale={scale}")
    assert config["name"] == experiment
    assert all("_target_" in node for node in config["decoders"].values())
    steps, epochs = config["pretrain"]["steps"], config["pretrain"]["epochs"]
    assert (steps is None) != (epochs is None)


@pytest.mark.parametrize("experiment", EXPERIMENTS)
def test_an_experiment_states_only_what_differs(experiment):
    lines = (CONF / "experiment" / f"{experiment}.yaml").read_text().splitlines()
    assert len(lines) <= 15


def test_ablations_are_overrides():
    assert composed("decoders=[shallow]", "decoders.shallow.layers=2")["decoders"]["shallow"]["layers"] == 2
    assert composed("decoders.enhanced.mask.rate=0.7")["decoders"]["enhanced"]["mask"]["rate"] == 0.7
    assert composed("corruption@view.passage.corruption=hide")["view"]["passage"]["corruption"] == {
        "_target_": "bmae_lightning.pretraining.corruption.hide.HideCorruption"
    }
    assert list(composed("decoders=[shallow,enhanced]")["decoders"]) == ["shallow", "enhanced"]
    assert composed("decoders=[]")["decoders"] == {}


def test_mean_pooling_is_the_default_of_minilm_only():
    assert composed()["bottleneck"]["_target_"].endswith("MeanBottleneck")
    assert composed()["representation"]["pooling"] == "mean"
    assert composed("bottleneck=cls")["bottleneck"]["_target_"].endswith("ClsBottleneck")
    for encoder in ("tiny", "small", "bert_base"):
        assert composed(f"encoder={encoder}")["representation"]["pooling"] == "cls"


def test_paper_scale_takes_the_papers_settings():
    config = composed("+experiment=retromae", "scale=paper", "corpus=beir", "corpus.path=x")
    assert config["pretrain"]["batch_size"] == 1024
    assert config["pretrain"]["length"] == 150
    assert config["pretrain"]["epochs"] == 20
    assert config["trainer"]["devices"] == 8
