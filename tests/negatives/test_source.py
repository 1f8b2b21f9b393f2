"""Groups of passages per query from a ranking or at random."""

import numpy as np
import pytest

from bmae_lightning.corpus.token_store import TokenStoreWriter
from bmae_lightning.errors import BadInput
from bmae_lightning.negatives.source import Groups, RandomNegatives, RankedNegatives
from bmae_lightning.run import Run


def stores(tmp_path, number=12):
    made = []
    for name in ("q", "p"):
        with TokenStoreWriter(tmp_path / name, 10, "digest") as writer:
            for row in range(number):
                writer.append(np.array([row % 10]), f"{name}{row}")
            made.append(writer.commit())
    return made


QRELS = {"q3": {"p1": 1, "p2": 0}, "q0": {"p5": 2}, "q7": {"p4": 0}}
RUN = Run({"q3": [("p1", 3.0), ("p2", 2.0), ("p8", 1.0)], "q0": [("p5", 1.0)]})


def test_positive_first_negatives_from_the_ranking(tmp_path):
    groups = Groups(QRELS, *stores(tmp_path), RankedNegatives(200), RUN, 3, seed=1)
    assert groups.ids == ["q3", "q0"]
    assert groups.query_rows == [3, 0]
    drawn = groups.draw(0, epoch=0)
    assert drawn[0] == 1
    assert set(drawn[1:]) == {2, 8}
    assert groups.short == 1
    filled = groups.draw(1, epoch=0)
    assert filled[0] == 5
    assert len(set(filled)) == 3


def test_groups_are_a_pure_function(tmp_path):
    made = [Groups(QRELS, *stores(tmp_path), RandomNegatives(), None, 4, seed=1) for _ in range(2)]
    assert [made[0].draw(0, epoch) for epoch in range(5)] == [made[1].draw(0, epoch) for epoch in range(5)]
    assert made[0].draw(0, 0) != made[0].draw(0, 1)


def test_what_cannot_be_trained_on(tmp_path):
    with pytest.raises(BadInput, match="no training query has a passage judged relevant"):
        Groups({"q7": {"p4": 0}}, *stores(tmp_path), RandomNegatives(), None, 2, seed=1)
    with pytest.raises(BadInput, match="needs a ranking"):
        Groups(QRELS, *stores(tmp_path), RankedNegatives(), None, 2, seed=1)
    with pytest.raises(ValueError, match="depth"):
        RankedNegatives(0)
