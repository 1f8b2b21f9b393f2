"""Bars: lengths and whiskers in shares of one scale."""

import math
from dataclasses import replace

import pytest

from bmae_lightning.report.bars import about_whiskers, bars
from bmae_lightning.report.content import Arm, Report
from bmae_lightning.report.figure import PALETTE, colours
from bmae_lightning.report.page import html
from bmae_lightning.runtime.mean import Mean


def test_one_bar_per_arm_and_measure_that_has_a_value(report):
    drawn = bars(report)
    assert [arm for arm, _ in drawn] == report.arms
    assert {tuple(bar.measure for bar in row) for _, row in drawn} == {tuple(report.measures())}
    missing = [(a, m) for a, (_, row) in enumerate(drawn) for m, bar in enumerate(row) if bar.start is None]
    assert missing == [(1, 2), (1, 3)]
    assert [drawn[1][1][m].shown for m in (2, 3)] == ["–", "–"]
    assert drawn[2][1][0].shown == "0.512"
    assert [row[0].best for _, row in drawn] == [False, False, True]


def test_length_of_a_bar_is_its_value_on_one_scale():
    arms = [Arm("a", {"RR@10": 0.2, "R@50": 0.4}, 1), Arm("b", {"RR@10": 0.8, "R@50": 0.6}, 1)]
    lengths = [[(bar.start, bar.length) for bar in row] for _, row in bars(Report("", arms=arms))]
    assert lengths == [[(0, pytest.approx(0.25)), (0, pytest.approx(0.5))], [(0, 1), (0, pytest.approx(0.75))]]


def test_a_scale_begins_below_0_where_a_value_does():
    arms = [Arm("a", {"x": -0.5}, 1), Arm("b", {"x": 1.5}, 1)]
    assert [(row[0].start, row[0].length) for _, row in bars(Report("", arms=arms))] == [(0, 0.25), (0.25, 0.75)]


def test_whiskers_are_intervals_of_runs_and_deviations_of_means():
    one = Arm("one", {"x": 0.5}, 9, interval={"x": (0.4, 0.8)})
    mean = Arm("mean", {"x": Mean(0.6, 0.1, 3)}, 9, interval={"x": (0.0, 1.0)})
    lone = Arm("lone", {"x": Mean(0.6, math.nan, 1)}, 9)
    (_, (first,)), (_, (second,)), (_, (third,)) = bars(Report("", arms=[one, mean, lone]))
    assert first.whisker == pytest.approx((0.5, 1.0))
    assert second.whisker == pytest.approx((0.5 / 0.8, 0.7 / 0.8))
    assert third.whisker is None
    assert (first.tip, second.tip, second.shown) == ("0.4 to 0.8", "0.5 to 0.7", "0.600")
    deviation, interval = "one standard deviation over seeds to both sides", "95 % bootstrap intervals over queries"
    assert about_whiskers(Report("", arms=[one])) == f"Whiskers: {interval}."
    assert about_whiskers(Report("", arms=[mean, lone])) == f"Whiskers: {deviation}."
    assert about_whiskers(Report("", arms=[one, mean])) == f"Whiskers: {deviation}; {interval} (of single runs)."
    assert about_whiskers(Report("", arms=[lone])) == ""


def test_nothing_to_draw():
    assert bars(Report("", arms=[Arm("a", {"RR@10": math.nan}, 1)])) == bars(Report("")) == []


def test_names_of_arms_may_repeat(report):
    assert len(bars(replace(report, arms=[report.arms[0]] * 2))) == 2


def test_a_bar_has_the_colour_of_its_arm(report):
    part = html(report).partition('<table class="bars">')[2].partition("</table>")[0]
    assert colours(report)["BM25"] == PALETTE[0]
    assert part.count(PALETTE[0]) == 4
    assert part.count('<span class="fill"') == 10
