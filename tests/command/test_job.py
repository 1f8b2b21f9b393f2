"""What a job says of itself: against a composed command."""

import shlex

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from support.compose import composed
from support.paths import CONF

from bmae_lightning.command.job import describe_job
from bmae_lightning.runtime.code_version import code_commit


@pytest.fixture
def job():
    """job(overrides…) as a command with these overrides describes itself."""

    def make(*overrides):
        with initialize_config_dir(str(CONF), version_base="1.3"):
            hydra_cfg = compose("config", overrides=list(overrides), return_hydra_config=True).hydra
        return describe_job(composed(*overrides), hydra_cfg)

    return make


def test_a_job_is_described_by_what_was_chosen(job):
    overrides = [
        "+experiment=retromae", "corpus=beir", "corpus.path=my files", "encoder=tiny", "seed=3",
        "view.passage.mask.rate=0.2", "mask@decoders.enhanced.mask=complement", "output_dir=out", "group='a sweep'",
    ]  # fmt: skip
    found = job(*overrides)
    assert {name: found[name] for name in ("name", "group", "encoder", "scale", "corpus", "seed")} == {
        "name": "retromae", "group": "a sweep", "encoder": "tiny", "scale": "laptop", "corpus": "beir", "seed": 3,
    }  # fmt: skip
    assert found["masks"] == {
        "view.passage": {"policy": "UniformMask", "rate": 0.2}, "decoders.enhanced": {"policy": "ComplementMask"},
    }  # fmt: skip
    assert found["commit"] == code_commit()
    program, flag, package, *words = shlex.split(found["command"])
    assert (program, flag, package) == ("python", "-m", "bmae_lightning")
    assert words == overrides[:-1], "in no group"
    assert OmegaConf.to_container(OmegaConf.create(found)) == found
