import re
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from support.paths import ROOT

from bmae_lightning.report.content import Curve
from bmae_lightning.report.figure import colours, curve_figure, thinned
from bmae_lightning.runtime.mean import Mean


def groups(svg: str, start: str) -> dict[str, ET.Element]:
    return {e.get("id"): e for e in ET.fromstring(svg).iter() if re.match(start + r"\d", e.get("id") or "")}


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter("text")]


def test_nothing_to_draw():
    assert curve_figure(Curve("", {"a": [], "b": [(1, float("inf"))]}), {}) == ""


def test_same_name_same_colour_everywhere(report):
    tints = colours(report)
    assert list(tints) == [*(arm.name for arm in report.arms), "total <x>", "encoder", "enhanced"]
    assert len(set(tints.values())) == 6
    svg = curve_figure(report.curves[1], tints, "curve1")
    assert tints[report.arms[2].name] in ET.tostring(groups(svg, "curve1-s")["curve1-s0"], "unicode")


@pytest.mark.parametrize("count", [1, 4, 12])
def test_every_series_is_drawn_and_named(count):
    names = ["_a $x$ <b>", *(f"decoders.x.mask.rate=0.{i}" for i in range(1, count))]
    curve = Curve("t", {name: [(step, 2.0 + i + 1 / (1 + step)) for step in range(9)] for i, name in enumerate(names)})
    svg = curve_figure(curve, {}, "c")
    assert set(groups(svg, "c-s")) == {f"c-s{i}" for i in range(count)}
    assert set(names) <= set(texts(svg))
    looks = [ET.tostring(group.find("path"), "unicode").split("style=")[1] for group in groups(svg, "c-s").values()]
    assert len(set(looks)) == count  # by colour or by dashes


def test_logarithmic_only_where_it_can_be():
    assert "loss (log)" in texts(curve_figure(Curve("", {"a": [(1, 1e4), (2, 1.0)]}), {}))
    assert "loss" in texts(curve_figure(Curve("", {"a": [(1, 1e4), (2, 0.0)]}), {}))
    assert "loss" in texts(curve_figure(Curve("", {"a": [(1, 3.0), (2, -1.0)]}), {}))


def test_linear_where_it_must_be():
    assert "loss" in texts(curve_figure(Curve("", {"a": [(1, 1e4), (2, 1.0)]}, linear=True), {}))


def test_means_over_seeds_have_whiskers():
    alone = {"a": [(1, 0.2), (2, 0.3)]}
    spread = {"a": [(1, Mean(0.2, 0.05, 3)), (2, Mean(0.3, float("nan"), 3))]}
    drawn = [curve_figure(Curve("x", series, linear=True, marked=True), {}) for series in (alone, spread)]
    assert ["sd0" in svg for svg in drawn] == [False, True]


def test_lines_that_may_lie_on_each_other_are_dashed():
    points = [(1, 1.0), (2, 2.0)]
    svg = curve_figure(Curve("", {"true": points, "zero": points, "other": points}, dashed=["other", "zero"]), {}, "c")
    looks = {key: ET.tostring(group.find("path"), "unicode") for key, group in groups(svg, "c-s").items()}
    assert [key for key, look in looks.items() if "stroke-dasharray" in look] == ["c-s1", "c-s2"]


def test_wide_numbers_do_not_push_the_label_out():
    svg = curve_figure(Curve("", {"a": [(1, 0.0), (2, 0.0007123)]}, y="shuffled - true (nats)"), {})
    label = next(e for e in ET.fromstring(svg).iter("text") if "nats" in "".join(e.itertext()))
    assert float(label.get("x")) > 9 / 2  # half a line's height


def test_thinned_means_equal_stretches():
    points = [(float(i), float(i % 2)) for i in range(1001)]
    few = thinned(points, 11)
    assert len(few) == 11
    assert few[-1] == (1000.0, 0.0)
    assert few[0] == (49.5, 0.5)
    assert thinned(points[:5]) == points[:5]
    assert thinned([(1, float("nan")), (2, 3.0)]) == [(2, 3.0)]


def test_figures_are_small_and_name_no_address():
    series = {f"s{i}": [(x, (x * 7919 + i) % 101) for x in range(20_000)] for i in range(3)}
    svg = curve_figure(Curve("t", series), {})
    assert len(svg) < 40_000
    assert "http" not in svg


def test_a_users_matplotlib_settings_are_kept(report):
    import matplotlib

    before = dict(matplotlib.rcParams)
    curve_figure(report.curves[1], {})
    assert dict(matplotlib.rcParams) == before


def test_matplotlib_is_imported_late_and_pyplot_never():
    code = """
import sys
from bmae_lightning.report.page import html
from bmae_lightning.report.content import Curve, Report
assert not {"matplotlib", "torch", "hydra", "pytorch_lightning"} & set(sys.modules)
html(Report("", curves=[Curve("t", {"a": [(1, 0.5)]})]))
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    root = ROOT
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
