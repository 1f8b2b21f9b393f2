"""Mining and drawing of negatives: no positives, rank order, group size, purity, short lists."""

import random

import pytest

from bmae_lightning.evaluation.measure.trec import Run
from bmae_lightning.retrieval.negatives.hard_negatives import (
    fill_up,
    group,
    negatives_from_run,
    sample,
)
from bmae_lightning.runtime.errors import BadInput

CORPUS = [f"d{i}" for i in range(200)]


def mined(depth=20):
    rng = random.Random(3)
    run = Run({f"q{q}": [(d, float(-r)) for r, d in enumerate(rng.sample(CORPUS, 30))] for q in range(12)})
    positives = {f"q{q}": set(rng.sample(run.passages(f"q{q}"), q % 4)) | {f"d{q}"} for q in range(12)}
    return run, positives, negatives_from_run(run, positives, depth)


def test_no_positive_is_a_negative():
    _, positives, negatives = mined()
    assert all(not positives[query] & set(listed) for query, listed in negatives.items())
    assert negatives_from_run(Run({"q": [("7", 2.0), ("8", 1.0)]}), {"q": [7, " 9 "]}, 5) == {"q": ["8"]}


def test_negatives_are_the_top_in_rank_order():
    run, positives, negatives = mined(depth=9)
    for query, listed in negatives.items():
        expected = []
        for passage in run.passages(query):
            if passage not in positives[query] and len(expected) < 9:
                expected.append(passage)
        assert listed == expected


@pytest.mark.parametrize("n", [2, 8, 16])
def test_groups_have_n_entries_and_one_positive_in_front(n):
    _, positives, negatives = mined()
    for query, listed in negatives.items():
        for epoch in range(7):
            drawn = group(sorted(positives[query]), listed, n, 1, epoch, query, CORPUS)
            assert len(drawn) == len(set(drawn)) == n
            assert drawn[0] in positives[query]
            assert not positives[query] & set(drawn[1:])


def test_drawing_is_a_pure_function_and_epochs_take_new_windows():
    listed = CORPUS[:20]
    windows = [sample(listed, 5, 7, epoch, "q") for epoch in range(5)]
    assert windows == [sample(list(listed), 5, 7, epoch, "q") for epoch in range(5)]
    assert sorted(sum(windows[:4], [])) == sorted(listed)  # no repeat before the list is used up
    assert windows[4] == windows[0]
    assert sample(listed, 5, 7, 0, "other") != windows[0] != sample(listed, 5, 8, 0, "q")
    assert windows[0] != listed[:5]


def test_every_negative_is_equally_likely():
    counts = dict.fromkeys(CORPUS[:10], 0)
    for query in range(2000):
        for passage in sample(CORPUS[:10], 3, 0, 0, str(query)):
            counts[passage] += 1
    assert all(abs(count - 600) < 5 * (2000 * 0.3 * 0.7) ** 0.5 for count in counts.values())


def test_positives_take_turns():
    firsts = [group(["a", "b", "c"], CORPUS[:4], 2, 0, epoch, "q")[0] for epoch in range(6)]
    assert sorted(firsts[:3]) == ["a", "b", "c"]
    assert firsts[:3] == firsts[3:]


def test_short_lists_are_filled():
    for epoch in range(20):
        drawn = sample(["d1"], 6, 0, epoch, "q", CORPUS[:8], positives={"d0"})
        assert drawn[0] == "d1"
        assert len(set(drawn)) == 6
        assert "d0" not in drawn
    assert sample(["d1"], 6, 0, 0, "q", CORPUS) != sample(["d1"], 6, 0, 1, "q", CORPUS)
    assert sorted(sample(["d1"], 7, 0, 0, "q", CORPUS[:8], {"d0"})) == CORPUS[1:8]  # the corpus just suffices


def test_short_lists_are_repeated_evenly_where_that_is_asked_for():
    for epoch in range(5):
        drawn = sample(["d1", "d2", "d3"], 7, 0, epoch, "q", CORPUS, repeat=True)
        assert sorted(drawn.count(passage) for passage in ("d1", "d2", "d3")) == [2, 2, 3]
    assert len(set(sample([], 3, 0, 0, "q", CORPUS, {"d0"}, repeat=True))) == 3
    assert sample(CORPUS[:9], 4, 0, 1, "q", repeat=True) == sample(CORPUS[:9], 4, 0, 1, "q")


def test_lists_are_filled_up_alike_whoever_asks():
    negatives, positives = {"q": ["d1", "d2"], "r": CORPUS[:6], "s": []}, {"q": {"d0"}, "r": {"d9"}, "s": {"d3"}}
    filled = fill_up(negatives, 5, positives, CORPUS)
    assert filled == fill_up(dict(reversed(negatives.items())), 5, positives, CORPUS)
    assert filled["r"] == CORPUS[:6]
    assert filled["q"][:2] == ["d1", "d2"]
    for query in ("q", "s"):
        assert len(set(filled[query])) == 5
        assert not positives[query] & set(filled[query])
    assert filled["q"][2:] != filled["s"][:3]
    assert fill_up(negatives, 0, positives, CORPUS) == negatives


def test_queries_missing_from_the_run_are_kept_empty():
    assert negatives_from_run(Run({"x": [("a", 1.0)]}), {"q": {"a"}}, 3) == {"q": []}


def test_corpus_that_cannot_fill():
    for corpus in ([], CORPUS[:3]):
        with pytest.raises(BadInput, match="query q lacks"):
            sample(["d1"], 5, 0, 0, "q", corpus, {"d0"})
