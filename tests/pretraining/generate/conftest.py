"""The tiny checkpoints of `support.teachers`, as fixtures."""

from pathlib import Path

import pytest
from support.teachers import save_gpt2, save_t5


@pytest.fixture(scope="session")
def t5(tmp_path_factory) -> Path:
    return save_t5(tmp_path_factory.mktemp("t5"))


@pytest.fixture(scope="session")
def gpt2(tmp_path_factory) -> Path:
    return save_gpt2(tmp_path_factory.mktemp("gpt2"))


@pytest.fixture(scope="session")
def silent_gpt2(tmp_path_factory) -> Path:
    return save_gpt2(tmp_path_factory.mktemp("silent"), bias_to_end=50.0)
