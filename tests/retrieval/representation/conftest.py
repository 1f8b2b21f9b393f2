"""A tiny encoder and texts of several lengths, one of them empty."""

import numpy as np
import pytest
from support.encoders import small_encoder


@pytest.fixture
def encoder():
    return small_encoder(2).double().eval()


@pytest.fixture
def tokens(encoder):
    rows = [np.array(row, dtype=np.int64) for row in ([6, 7, 8, 9, 10], [11], [], [12, 13, 14])]
    return encoder.vocabulary.pad(rows, 20)
