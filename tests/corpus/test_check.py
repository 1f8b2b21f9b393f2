"""What holds in every collection: unique ids, texts, consistent judgments of what is there, against plain sets."""

import random

import pytest

from bmae_lightning.corpus.check import Check, Judged
from bmae_lightning.corpus.records import Judgment, Passage, Query
from bmae_lightning.corpus.stream import Stream
from bmae_lightning.runtime.errors import BadInput


def stream(name, records):
    return Stream(name, lambda: enumerate(records, start=1), lambda source, number, record: record)


def passages(*ids, text="two words"):
    return stream("docs", [Passage(id, "", text, None, None) for id in ids])


def queries(*ids):
    return stream("queries", [Query(id, "x") for id in ids])


def judged(check, *rows, split="test", known=("q1", "q2")):
    check.judgments(split, stream("qrels", [Judgment(*row) for row in rows]), check.queries(queries(*known)))


def test_counts_are_those_of_plain_sets():
    draw = random.Random(0)
    rows = [(f"q{draw.randrange(9)}", f"p{draw.randrange(30)}") for _ in range(200)]
    grade = {pair: draw.choice([-1, 0, 1, 2]) for pair in rows}
    check = Check()
    check.passages(passages(*(f"p{n}" for n in range(30))))
    judged(check, *((*pair, grade[pair]) for pair in rows), known=[f"q{n}" for n in range(9)])
    asked, positive = {query for query, _ in rows}, {query for (query, _), value in grade.items() if value > 0}
    assert check.judged["test"] == Judged(len(grade), len(asked), len(asked - positive), 0)
    assert check.counts(9) == (30, 9, {"test": len(grade)}, 60)


def test_a_repeated_id_is_named_with_its_line():
    with pytest.raises(BadInput, match=r"docs:3: id 'a' was used before .* \(1 more such line in this file.\)"):
        Check().passages(passages("a", "b", "a", "a"))


def test_an_empty_stream_is_refused():
    with pytest.raises(BadInput, match="docs is empty; a collection needs passages and queries"):
        Check().passages(passages())


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([("q1", "a", 1), ("q1", "a", 2)], "qrels:2: 'q1' and 'a' were judged before with another score"),
        ([("q1", "a", 1), ("q2", "z", 1)], "qrels:2: 'z' is not an id of docs"),
        ([("q1", "a", 1), ("q9", "a", 1)], "qrels:2: 'q9' is not an id of queries"),
        ([("q8", "a", 1), ("q9", "a", 1)], "qrels: none of the 2 queries judged there is in queries"),
        ([("q1", "a", 0)], "qrels has only scores of 0 or less"),
        ([], "qrels has no judgments"),
    ],
)
def test_judgments_that_cannot_be_used(rows, message):
    check = Check()
    check.passages(passages("a", "b"))
    with pytest.raises(BadInput, match=message):
        judged(check, *rows)


def test_the_same_judgment_twice_counts_once():
    check = Check()
    check.passages(passages("a"))
    judged(check, ("q1", "a", 1), ("q1", "a", 1))
    assert check.judged["test"].pairs == 1


def test_unknown_passages_are_tolerated_where_nothing_is_trained():
    rows = [("q1", "a", 1), ("q2", "z", 1)]
    check = Check(("unknown",))
    check.passages(passages("a"))
    judged(check, *rows)
    assert check.judged["test"].unknown == 1
    with pytest.raises(BadInput, match="'z' is not an id of docs"):
        judged(check, *rows, split="train")


def test_a_split_may_have_answers_instead():
    check = Check()
    check.passages(passages("a"))
    check.answered("dev", check.queries(queries("q1", "q2")))
    assert check.judged["dev"] == Judged(0, 2, 0, 0, by_answers=True)
    assert check.has_passage("a")
    assert not check.has_passage("b")
