import random

import numpy as np
import pytest

from bmae_lightning.corpus.tokens.row_index import RowIndex

IDS = [f"p{i * 7 % 500}" for i in range(500)] + ["é", "", "日本"]


@pytest.mark.parametrize("alike", [False, True])
def test_as_a_dictionary(monkeypatch, alike):
    if alike:  # many ids with one hash
        monkeypatch.setattr("bmae_lightning.corpus.tokens.row_index.hash", lambda id: len(id), raising=False)
    index = RowIndex(iter(IDS), len(IDS), IDS.__getitem__)
    asked = random.Random(1).choices(IDS, k=900)
    rows = index.rows_of(asked)
    assert rows.dtype == np.int64
    assert [IDS[row] for row in rows] == asked
    assert index.rows_of([]).tolist() == []
    for unknown in ("p500", "zzzzzzzzzz"):
        with pytest.raises(KeyError) as caught:
            index.rows_of(["p1", unknown, "q"])
        assert caught.value.args == (unknown,)


def test_none():
    index = RowIndex([], 0, IDS.__getitem__)
    assert index.rows_of([]).tolist() == []
    with pytest.raises(KeyError):
        index.rows_of(["p1"])
