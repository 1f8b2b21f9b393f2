"""The tiny checkpoints of `support.foreign_models`, as fixtures."""

from pathlib import Path

import pytest
from support.foreign_models import write_bert


@pytest.fixture(scope="session")
def bert(tmp_path_factory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert") / "someone" / "bert")
