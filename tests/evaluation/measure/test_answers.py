"""DPR's answer matching and answer recall against a slow reference written here from Unicode categories."""

import random
import unicodedata

import pytest

from bmae_lightning.evaluation.measure.answers import has_answer, judge, words
from bmae_lightning.evaluation.measure.ranking import by_answers, check_measures, evaluate, find_measure
from bmae_lightning.evaluation.measure.trec import Run
from bmae_lightning.runtime.errors import BadInput


def slow_words(text):
    """Runs of letters, numbers, marks; other characters alone, but no separators, no control characters (Z, C)."""
    found, run = [], ""
    for character in unicodedata.normalize("NFD", text):
        kind = unicodedata.category(character)[0]
        if kind in "LNM":
            run += character
            continue
        found += [run] * bool(run)
        run = ""
        found += [character] * (kind not in "ZC")
    return [word.lower() for word in found + [run] * bool(run)]


def slow_match(text, answers):
    said = slow_words(text)
    wanted = [w for w in map(slow_words, answers) if w]
    return any(said[i : i + len(w)] == w for w in wanted for i in range(len(said) - len(w) + 1))


CASES = [
    ("He was born in Washington D.C. in 1899.", ["washington d.c."], True),
    ("He was born in WASHINGTON D . C .", ["Washington D.C."], True),
    ("Washington DC", ["Washington D.C."], False),
    ("caf\u00e9 au lait", ["CAFE\u0301"], True),  # composed and decomposed
    ("cafe au lait", ["caf\u00e9"], False),  # accents count
    ("a fresh start", ["art"], False),  # no part of a word
    ("the art of war", ["art"], True),
    ("on 14 December 1972, it", ["14 December 1972"], True),
    ("on December 14, 1972", ["14 December 1972"], False),
    ("about 1,234.5 km", ["1,234.5"], True),
    ("about 1,234.5 km", ["234"], True),  # the comma is a word of its own
    ("about 11,234 km", ["1,234"], False),
    ("in the 1970s", ["1970"], False),
    ("in the 1970's", ["1970"], True),
    ("the answer is 4\u00bd", ["4\u00bd"], True),
    ("Henry \u2163 ruled", ["\u2163"], True),  # a roman numeral is a number
    ("\u6771\u4eac\u90fd", ["\u6771\u4eac"], False),  # one run of letters
    ("\u041c\u043e\u0441\u043a\u0432\u0430", ["\u043c\u041e\u0421\u041a\u0412\u0410"], True),
    ("\u039f\u0394\u039f\u03a3 \u0391\u03a3'\u0391", ["\u039f\u0394\u039f\u03a3"], True),  # final sigma
    ("\u0391\u03a3'\u0391 x", ["\u03b1\u03c3'\u03b1"], False),  # lower-cased word by word, the sigma of a word is final
    ("stra\u00dfe", ["STRASSE"], False),
    ("\u0130stanbul", ["i\u0307stanbul"], True),
    ("don't stop", ["don\u2019t"], False),
    ("zero\u200bwidth", ["zero width"], True),  # a format character separates
    ("a\u00a0b\tc\nd", ["a b c d"], True),
    ("$5 million", ["$ 5"], True),
    ("C++ and C#", ["C#"], True),
    ("tail \U0001f600", ["\U0001f600"], True),
    ("anything", ["", " \n"], False),
    ("", ["x"], False),
    ("x y", ["y x", "x y z", "Y"], True),
    ("it is \u0939\u093f\u0928\u094d\u0926\u0940", ["\u0939\u093f\u0928\u094d\u0926\u0940"], True),
    ("\uac00\uac01", ["\u1100\u1161\u1100\u1161\u11a8"], True),  # Hangul syllables decompose
    ("H\u2082O", ["h\u2082o"], True),
]


@pytest.mark.parametrize(("text", "answers", "expected"), CASES)
def test_answers_are_matched_by_whole_words(text, answers, expected):
    assert has_answer(text, answers) is slow_match(text, answers) is expected


def test_random_texts_equal_the_reference():
    draw = random.Random(3)
    alphabet = (
        "aAbB \u00e9e\u0301\u03a3\u03c3\u0391'.,-12\u00bd\u2163\u0130\u00df\u200b\u00a0\n"
        "\u6771\u094d_#\u2019\u1100\u1161\uac01"
    )
    hits = 0
    for _ in range(3000):
        text = "".join(draw.choice(alphabet) for _ in range(draw.randint(0, 24)))
        start = draw.randrange(len(text) + 1)
        answers = [text[start : start + draw.randint(0, 6)].swapcase(), draw.choice(alphabet) * draw.randint(0, 2)]
        assert words(text).split() == slow_words(text)
        assert has_answer(text, answers) == slow_match(text, answers), (text, answers)
        hits += slow_match(text, answers)
    assert 500 < hits < 2500


TEXTS = {"p1": "Paris is large.", "p2": "The art of London", "p3": "start", "p4": "Paris, art", "p5": "nothing"}
ANSWERS = {"q1": ["paris"], "q2": ["ART"], "q3": ["Rome"], "q4": ["London", "Paris"]}
RUN = Run(
    {
        "q1": [("p3", 3.0), ("p2", 2.0), ("p4", 1.0), ("p1", 0.5)],
        "q2": [("p3", 3.0), ("p4", 2.0)],
        "q3": [("p5", 3.0), ("p1", 2.0)],
        "q4": [],
    }
)


def test_judgments_from_answers(capsys):
    judged = judge(RUN, ANSWERS, TEXTS.items(), "answers")
    assert judged == {"q1": {"p4": 1, "p1": 1}, "q2": {"p4": 1}, "q3": {"p5": 0}, "q4": {}}
    assert "answers: 5/5 passages" in capsys.readouterr().err
    assert judge(Run({}), {}, TEXTS.items(), "answers") == {}


def test_each_passage_is_read_once_and_reading_ends_with_the_last():
    def texts():
        yield from TEXTS.items()
        raise AssertionError("read on")

    judge(RUN, ANSWERS, texts(), "answers")
    with pytest.raises(BadInput, match=r"1 passages that the corpus does not have, such as 'p9'"):
        judge(Run({"q1": [("p9", 1.0), ("p1", 0.0)]}), ANSWERS, TEXTS.items(), "answers")


def test_recall_counts_all_questions():
    judged = judge(RUN, ANSWERS, TEXTS.items(), "answers")
    measured = evaluate(judged, RUN, ["answer_R@1", "answer_R@2", "answer_R@3", "answer_R@30", "answer_R@100"])
    assert measured.mean == {
        "answer_R@1": 0.0, "answer_R@2": 0.25, "answer_R@3": 0.5, "answer_R@30": 0.5, "answer_R@100": 0.5,
    }  # fmt: skip
    assert measured.per_query["answer_R@3"] == {"q1": 1.0, "q2": 1.0, "q3": 0.0, "q4": 0.0}
    assert measured.queries == 4


def test_names():
    assert [by_answers(name) for name in ("answer_R@20", "R@20", "nDCG@10")] == [True, False, False]
    assert find_measure("answer_R@20").k == 20
    check_measures(["answer_R@20", "RR@10"])
    for wrong in ("answer_R@", "answer_R@0", "answer_R@x"):
        with pytest.raises(BadInput, match="answer_R@20"):
            check_measures([wrong])
