"""The whole grid: every mask under every corruption with every set of decoders composes and learns, or is refused."""

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from support import two_steps as steps
from support.paths import CONF

from bmae_lightning.command.plan import read_entries
from bmae_lightning.runtime.errors import BadInput

MASKS = ["uniform", "keyword", "importance", "complement", "superset"]
RELATIVE = ["complement", "superset"]
"""Masks that relate to what the encoder's view selected."""
CORRUPTIONS = ["bert", "hide", "replace"]
DECODERS = [["shallow"], ["enhanced"], ["shallow", "bag_of_words"]]


def composed(*overrides: str) -> tuple[dict, dict]:
    """The configuration of the pre-training, and its inputs."""
    stages = "stages@_global_=[prepare,statistics,masked_lm,pretrain_general,pretrain]"
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = OmegaConf.to_container(compose("config", overrides=[stages, *overrides]), resolve=True)
    entry = read_entries(config)["pretrain"]
    return entry.options, entry.inputs


@pytest.fixture(scope="module")
def inputs(tmp_path_factory, collection):
    return steps.make_inputs(tmp_path_factory.mktemp("inputs"), collection)


def point(mask: str, corruption: str, decoders: list[str]) -> list[str]:
    """The overrides of one point: the decoder's mask, the encoder's too unless it relates to it; all corruptions."""
    masked = decoders[0]
    overrides = [f"decoders=[{','.join(decoders)}]", f"mask@decoders.{masked}.mask={mask}"]
    overrides.append(f"corruption@view.passage.corruption={corruption}")
    if masked == "shallow":
        overrides.append(f"corruption@decoders.shallow.corruption={corruption}")
    if mask not in RELATIVE:
        overrides.append(f"mask@view.passage.mask={mask}")
    return overrides


@pytest.mark.parametrize("decoders", DECODERS, ids="+".join)
@pytest.mark.parametrize("corruption", CORRUPTIONS)
@pytest.mark.parametrize("mask", MASKS)
def test_every_point_takes_two_steps(mask, corruption, decoders, inputs, tmp_path, monkeypatch):
    config, sources = composed(*point(mask, corruption, decoders))
    assert list(config["decoders"]) == decoders
    assert mask in config["decoders"][decoders[0]]["mask"]["_target_"]
    assert corruption in config["view"]["passage"]["corruption"]["_target_"]
    steps.take_two_steps(config, sources, inputs, tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        (["mask@view.passage.mask=superset"], "view.passage.mask relates to an encoder's selection"),
        (["mask@view.passage.mask=complement", "~view.passage.mask.rate"],
         "view.passage.mask relates to an encoder's selection"),
        (["mask@view.passage.mask=complement"], "unknown option 'pretrain.view.passage.mask.rate'"),
        (["mask@decoders.enhanced.mask=superset", "decoders.enhanced.mask.rate=0.2"],
         "rate 0.2 is below encoder_rate 0.3"),
    ],
    ids=["superset of nothing", "complement of nothing", "a complement has no rate", "a superset that is smaller"],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_a_reason(overrides, reason, inputs, tmp_path, monkeypatch):
    with pytest.raises(BadInput, match=reason):
        steps.take_two_steps(*composed(*overrides), inputs, tmp_path, monkeypatch)
