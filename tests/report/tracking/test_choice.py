"""`logger=`: one, several, none, with the options of W&B beside them, and a mistake in a line."""

import pytest
from hydra.core.global_hydra import GlobalHydra
from support.compose import composed

from bmae_lightning.report.tracking.choice import make_tracking
from bmae_lightning.report.tracking.loggers import CsvTracking
from bmae_lightning.report.tracking.wandb import WandbTracking
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import BadInput


def chosen(*overrides):
    GlobalHydra.instance().clear()
    config = composed(*overrides)
    assert config["pretrain"]["logger"] == config["evaluate2"]["logger"] == config["logger"]
    return build(config["logger"], "logger").choices


def test_one_several_or_none():
    one, several = chosen("logger.project=x"), chosen("logger=[csv,wandb]", "logger.project=x", "logger.tags=[a]")
    assert [type(choice) for choice in one] == [WandbTracking]
    assert [type(choice) for choice in several] == [WandbTracking, CsvTracking]
    assert (one[0].project, several[0].project, several[0].tags) == ("x", "x", ["a"])
    assert chosen("logger=none") == []


def test_mistakes_name_the_key():
    target = f"{make_tracking.__module__}.{make_tracking.__name__}"
    for said, options in {
        "logger: mode must be online, offline, disabled or null, got 'of'": {"wandb": True, "mode": "of"},
        "logger: tags must be a list, as [draft], got 'draft'": {"wandb": True, "tags": "draft"},
        "logger: each.mine must be a Tracking (with a _target_), got {}": {"each": {"mine": {}}},
    }.items():
        with pytest.raises(BadInput) as refused:
            build({"_target_": target} | options, "logger")
        assert str(refused.value) == said
