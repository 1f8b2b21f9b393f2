"""Re-ranking moves the scored ranks only."""

import numpy as np
import pytest

from bmae_lightning.evaluation.measure.trec import Run, read_run, write_run
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.stage.rerank import pairs_of, reranked

RUN = Run({"b": [("p1", 9.0), ("p2", 8.0), ("p3", 7.0), ("p4", 6.0)], "a": [("p5", 1.0)]})


def test_new_scores_order_the_top_and_the_rest_follows(tmp_path):
    after = reranked(RUN, np.array([0.1, -5.0, 3.0, -99.0], dtype=np.float32), 3)
    assert after.passages("b") == ["p3", "p1", "p2", "p4"]
    assert after["b"] == [("p3", 3.0), ("p1", np.float32(0.1)), ("p2", -5.0), ("p4", -np.inf)]
    assert after["a"] == [("p5", -99.0)]
    write_run(tmp_path / "run.trec", after, "x")
    assert read_run(tmp_path / "run.trec").passages("b") == ["p3", "p1", "p2", "p4"]


def test_equal_scores_keep_their_order():
    assert reranked(RUN, np.zeros(5, dtype=np.float32), 4).passages("b") == ["p1", "p2", "p3", "p4"]


class Store(dict):
    row_of = dict.__getitem__

    def rows_of(self, ids):
        return np.array([self[id] for id in ids])


class Prepared:
    def queries(self):
        return Store(a=4, b=2)

    def passages(self):
        return Store(p1=0, p2=7)


def test_pairs_are_rows_in_order_and_unknown_ids_are_named():
    assert pairs_of({"b": ["p2", "p1"], "a": ["p1"]}, Prepared(), "x").tolist() == [[2, 7], [2, 0], [4, 0]]
    with pytest.raises(BadInput, match="run.trec: the id 'p9' .at query b. is not in the prepared corpus"):
        pairs_of({"b": ["p9"]}, Prepared(), "run.trec")
