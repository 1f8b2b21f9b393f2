"""Verdicts and orders: by hand, and τ-b against counting pairs."""

import itertools
import math
import random

import pytest

from bmae_lightning.report.printed import read_table
from bmae_lightning.report.verdict import Tolerances, Value, order, together
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.mean import mean_of


@pytest.mark.parametrize(
    ("ours", "wide", "verdict"),
    [
        (0.380, False, "OK"), (0.385, False, "OK"), (0.375, False, "OK"), (0.3851, False, "OKish"),
        (0.365, False, "OKish"), (0.3649, False, "FAIL"), (0.40, False, "FAIL"), (0.395, True, "OK"),
        (0.335, True, "OKish"), (0.3349, True, "FAIL"), (None, False, "not measured"),
        (math.nan, False, "not measured"),
    ],
)  # fmt: skip
def test_by_tolerance_in_either_direction(ours, wide, verdict):
    assert Value(ours, 0.38, wide=wide).verdict(Tolerances()) == verdict


def test_seeds_that_differ_more_than_the_paper_make_a_verdict_one_step_better():
    near, far = mean_of([0.360, 0.364, 0.368]), mean_of([0.33, 0.36, 0.399])  # two standard errors: 0.0046 and 0.0399
    assert Value(near, 0.38).verdict(Tolerances()) == "FAIL"
    assert Value(far, 0.38).verdict(Tolerances()) == "OKish"
    assert Value(mean_of([0.36, 0.37, 0.38]), 0.38).verdict(Tolerances()) == "OK"
    assert Value(float(far), 0.38).verdict(Tolerances()) == "FAIL"


def test_what_cannot_be_compared_says_why_and_what_is_not_printed_nothing():
    assert Value(0.38, 0.38, why="scale=laptop").verdict(Tolerances()) == "not comparable: scale=laptop"
    assert Value(None, 0.38, "failed", "scale=laptop").verdict(Tolerances()) == "failed"
    assert Value(0.38, None).verdict(Tolerances()) == ""


def test_a_row_of_one_verdict_says_it_once():
    assert together(["OK", "", "OK"]) == "OK"
    assert together(["FAIL", "OK", "FAIL"]) == "2 FAIL, 1 OK"
    assert together(["", ""]) == ""


def tau_b(pairs):
    """By counting pairs of rows."""
    signs = [
        ((a > c) - (a < c), (b > d) - (b < d)) for (a, b), (c, d) in itertools.combinations(pairs, 2)
    ]  # fmt: skip
    untied = [sum(sign[side] != 0 for sign in signs) for side in (0, 1)]
    return sum(x * y for x, y in signs) / math.sqrt(untied[0] * untied[1])


def test_the_order_is_kendalls_tau_with_ties():
    draw = random.Random(3)
    for _ in range(20):
        pairs = [(draw.randrange(5) / 10, draw.randrange(5) / 10) for _ in range(8)]
        assert order([Value(*pair) for pair in pairs]) == f"{tau_b(pairs):.2f} (8)"


def test_rows_of_another_collection_take_part_where_the_column_has_none_of_its_own():
    away = [Value(None, paper / 10, elsewhere=("beir", ours)) for paper, ours in ((1, 0.1), (2, 0.3), (3, 0.2))]
    assert order(away) == "0.33 (3)"
    assert order([*away, Value(None, 0.9, elsewhere=("nq", 0.9))]) == "0.33 (3)", "rows of one collection"
    assert order([*away, Value(0.5, 0.5)]) == "- (1)"
    assert order([Value(0.5, 0.1), Value(0.5, 0.2), Value(0.5, 0.3)]) == "- (3)", "all alike are in no order"


@pytest.mark.parametrize(
    ("tolerances", "message"),
    [
        ({"okay": 1}, "unknown option 'paper_table.tolerances.okay'; did you mean 'ok'"),
        ({"ok": 0.02}, "okish=0.015 must be at least ok=0.02"),
        ({"wider": 0.5}, "wider must be at least 1"),
        (0.5, "paper_table.tolerances must have ok, okish, few, wider by name"),
    ],
)  # fmt: skip
def test_wrong_tolerances_are_refused(tolerances, message):
    with pytest.raises(BadInput, match=message):
        read_table({"title": "T", "columns": [], "tolerances": tolerances})
