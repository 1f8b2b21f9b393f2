"""Groups of passages per query from a ranking or at random."""

import pytest
from support.stores import write_store

from bmae_lightning.evaluation.measure.trec import Run
from bmae_lightning.retrieval.negatives.file import FileNegatives
from bmae_lightning.retrieval.negatives.source import Groups, RandomNegatives, RankedNegatives
from bmae_lightning.runtime.errors import BadInput


def stores(tmp_path, number=12):
    return [write_store(tmp_path / name, [[row] for row in range(number)], name) for name in ("q", "p")]


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


def test_a_query_is_an_example_with_each_of_its_positives(tmp_path):
    """As RetroMAE's code reads the lines of the judgments; each example has negatives of its own."""
    qrels = {"q3": {"p1": 1, "p2": 1, "p3": 1}, "q0": {"p5": 2}}
    run = Run({"q3": [(f"p{row}", -row) for row in range(4, 10)], "q0": [("p6", 1.0)]})
    groups = Groups(qrels, *stores(tmp_path), RankedNegatives(200), run, 3, seed=1, pairs=True)
    assert groups.ids == ["q3", "q3", "q3", "q0"]
    for epoch in range(3):
        drawn = [groups.draw(number, epoch) for number in range(4)]
        assert sorted(one[0] for one in drawn[:3]) == [1, 2, 3]
        assert sorted(row for one in drawn[:3] for row in one[1:]) == [4, 5, 6, 7, 8, 9]
        assert drawn[3][0] == 5


def test_what_cannot_be_trained_on(tmp_path):
    with pytest.raises(BadInput, match="no training query has a passage judged relevant"):
        Groups({"q7": {"p4": 0}}, *stores(tmp_path), RandomNegatives(), None, 2, seed=1)
    with pytest.raises(BadInput, match="needs a ranking"):
        Groups(QRELS, *stores(tmp_path), RankedNegatives(), None, 2, seed=1)
    with pytest.raises(ValueError, match="depth"):
        RankedNegatives(0)
    with pytest.raises(ValueError, match="empty must be one of fill, drop, got 'keep'"):
        RankedNegatives(5, empty="keep")


def test_short_lists_are_counted(tmp_path):
    run = Run({"q1": [("p1", 3.0), ("p2", 2.0), ("p3", 1.0)], "q2": [("p1", 1.0)]})
    qrels = {"q1": {"p9": 1}, "q2": {"p9": 1}, "q3": {"p9": 1}}
    groups = Groups(qrels, *stores(tmp_path), RankedNegatives(), run, 4, seed=1)
    assert (groups.short, groups.dropped, groups.ids) == (2, 0, ["q1", "q2", "q3"])
    groups = Groups(qrels, *stores(tmp_path), RankedNegatives(empty="drop"), run, 4, seed=1)
    assert (groups.short, groups.dropped, groups.ids) == (1, 1, ["q1", "q2"])
    groups.renew(Run({"q1": [("p1", 3.0), ("p9", 2.0)]}), 5)
    assert (groups.short, groups.negatives) == (2, {"q1": ["p1"], "q2": []})


def test_lists_are_filled_up_but_queries_without_any_are_dropped_first(tmp_path):
    groups = Groups(QRELS, *stores(tmp_path), RankedNegatives(empty="drop", least=4), RUN, 6, seed=1)
    assert groups.ids == ["q3"]
    assert groups.negatives["q3"][:2] == ["p2", "p8"]
    assert len({*groups.negatives["q3"], "p1"}) == 5
    groups.renew(Run({"q3": [("p7", 1.0)]}), 5)
    assert (groups.negatives["q3"][0], len(groups.negatives["q3"])) == ("p7", 4)
    repeated = Groups(QRELS, *stores(tmp_path), RankedNegatives(empty="drop", short="repeat"), RUN, 6, seed=1)
    assert sorted(repeated.draw(0, 0)[1:]) in ([2, 2, 2, 8, 8], [2, 2, 8, 8, 8])
    with pytest.raises(ValueError, match="short must be one of fill, repeat, got 'cut'"):
        RankedNegatives(short="cut")
    with pytest.raises(ValueError, match="least must be at least 0, got -1"):
        RankedNegatives(least=-1)


def test_queries_without_negatives_are_dropped_and_counted_where_that_is_asked_for(tmp_path):
    groups = Groups(QRELS, *stores(tmp_path), RankedNegatives(200, empty="drop"), RUN, 3, seed=1)
    assert (groups.ids, groups.query_rows, groups.dropped, len(groups)) == (["q3"], [3], 2, 1)
    assert Groups(QRELS, *stores(tmp_path), RankedNegatives(200), RUN, 3, seed=1).dropped == 1, "q7 has no positive"
    with pytest.raises(BadInput, match="leaves no training query"):
        Groups(QRELS, *stores(tmp_path), RankedNegatives(200, empty="drop"), RUN.cut(1), 3, seed=1)


def test_the_users_own_ranking(tmp_path):
    path = tmp_path / "run.trec"
    path.write_text("q3 Q0 p8 1 9 x\nq3 Q0 p1 2 8 x\nq3 Q0 p2 3 7 x\nother Q0 p99 1 1 x\n")
    groups = Groups(QRELS, *stores(tmp_path), FileNegatives(str(path), depth=1), None, 2, seed=1)
    assert groups.negatives == {"q3": ["p8"], "q0": []}
    before = FileNegatives(str(path)).identity()
    path.write_text("q3 Q0 p77 1 9 x\n")
    assert FileNegatives(str(path)).identity() != before
    with pytest.raises(BadInput, match=r"run.trec: query q3 lists the passage 'p77', which the corpus does not have"):
        Groups(QRELS, *stores(tmp_path), FileNegatives(str(path)), None, 2, seed=1)
    path.write_text("17 Q0 p1 1 9 x\n")
    with pytest.raises(BadInput, match="none of the 2 training queries is in it .it has 1 others, such as '17'"):
        Groups(QRELS, *stores(tmp_path), FileNegatives(str(path)), None, 2, seed=1)
    with pytest.raises(BadInput, match="negatives.path=.*absent: cannot be read"):
        FileNegatives(str(tmp_path / "absent")).identity()
