"""What the papers state is what scale=paper composes: paper_settings.yaml, sentence by sentence."""

from functools import cache
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf
from support.compose import composed

STATED = yaml.safe_load(Path(__file__).with_name("paper_settings.yaml").read_text(encoding="utf-8"))


@cache
def at_paper_scale(command: str):
    corpus = () if "corpus=" in command else ("corpus=msmarco", "corpus.path=DIR")
    return OmegaConf.create(composed(*command.split(), "scale=paper", *corpus))


@pytest.mark.parametrize(
    ("command", "sentence", "option", "value"),
    [(command, *row) for command, rows in STATED.items() for row in rows],
)
def test_a_paper_s_sentence_is_composed(command, sentence, option, value):
    assert OmegaConf.select(at_paper_scale(command), option, default="no such option") == value
