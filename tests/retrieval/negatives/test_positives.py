"""Which passages are positives where answers are known: SimLM's rule on Natural Questions, MASTER's first one."""

import pytest

from bmae_lightning.evaluation.measure.trec import run_of_lists
from bmae_lightning.retrieval.negatives.positives import choose_positives, with_answer
from bmae_lightning.runtime.errors import BadInput

RELEVANT = {"a": ["p1", "p2"], "b": ["p3"], "c": ["p9"]}
RUN = run_of_lists([("a", ["p5", "p1", "p6", "p7", "p8"]), ("b", ["p7", "p5"])])
ANSWERED = {"a": {"p5": 1, "p6": 1, "p8": 1}, "b": {"p5": 1}}


def test_labelled_and_first():
    assert choose_positives("labelled", RELEVANT, None, {}) == RELEVANT
    assert choose_positives("first", RELEVANT, None, {}) == {"a": ["p1"], "b": ["p3"], "c": ["p9"]}


def test_found_passages_with_an_answer_count_above_every_negative():
    chosen = choose_positives("answers", RELEVANT, RUN, ANSWERED)
    assert chosen == {"a": ["p1", "p5", "p6"], "b": ["p3"], "c": ["p9"]}, "p7 is the first negative of both"
    everything = choose_positives("answers", RELEVANT, RUN, ANSWERED, above_negatives=False)
    assert everything == {"a": ["p1", "p5", "p6", "p8"], "b": ["p3", "p5"], "c": ["p9"]}
    assert with_answer("a", RUN, ANSWERED) == ["p5", "p6", "p8"]
    assert with_answer("c", RUN, ANSWERED) == []


def test_mistakes():
    with pytest.raises(ValueError, match="positives must be one of labelled, pairs, first, answers, got 'all'"):
        choose_positives("all", {}, None, {})
    for run, answered in ((None, ANSWERED), (RUN, {})):
        with pytest.raises(BadInput, match="positives=answers needs a ranking.*corpus=nq"):
            choose_positives("answers", RELEVANT, run, answered)
