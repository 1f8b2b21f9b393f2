"""An encoder with random weights, as a fixture."""

import pytest

from bmae_lightning.encoder.scratch import ScratchEncoder
from bmae_lightning.encoder.tokenizer import TrainedTokenizer


@pytest.fixture
def scratch():
    return ScratchEncoder(TrainedTokenizer(200), layers=2, width=16, heads=2, positions=32, seed=3)
