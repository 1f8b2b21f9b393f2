"""Small models and token stores, as fixtures."""

from pathlib import Path

import pytest
from support.foreign_models import write_bert
from support.retrievers import TOKENS, dual_encoder
from support.stores import random_rows, write_store

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.retrieval.dual_encoder import DualEncoder
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation


@pytest.fixture(scope="session")
def bert(tmp_path_factory) -> Path:
    return write_bert(tmp_path_factory.mktemp("bert") / "someone" / "bert")


@pytest.fixture
def model() -> DualEncoder:
    return dual_encoder(PooledRepresentation("mean"), "cos")


@pytest.fixture
def store(tmp_path) -> TokenStore:
    """25 texts of 1 to 39 of `TOKENS`."""
    rows = random_rows([1 + (7 * row) % 39 for row in range(25)], vocabulary=len(TOKENS))
    return write_store(tmp_path / "store", rows, "p", len(TOKENS))
