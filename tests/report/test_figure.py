import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from support.paths import ROOT

from bmae_lightning.report.content import Arm, Curve, Report
from bmae_lightning.report.figure import PALETTE, bar_figure, colours, curve_figure, thinned


def groups(svg: str, start: str) -> dict[str, ET.Element]:
    return {e.get("id"): e for e in ET.fromstring(svg).iter() if re.match(start + r"\d", e.get("id") or "")}


def texts(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter("text")]


def test_one_bar_per_arm_and_measure_that_has_a_value(report):
    bars = groups(bar_figure(report), "bars-a")
    measures = report.measures()
    wanted = {(0, 0), (0, 1), (0, 2), (0, 3), (1, 0), (1, 1), (2, 0), (2, 1), (2, 2), (2, 3)}
    assert set(bars) == {f"bars-a{a}-m{m}" for a, m in wanted}
    assert bars["bars-a1-m0"].find("title").text == f"no pre-training: {measures[0]} 0.503"
    assert all(PALETTE[0] in ET.tostring(bars[f"bars-a0-m{m}"], "unicode") for m in range(4))


def test_length_of_a_bar_is_its_value():
    arms = [Arm("a", {"RR@10": 0.2, "R@50": 0.4}, 1), Arm("b", {"RR@10": 0.8, "R@50": 0.6}, 1)]
    bars = groups(bar_figure(Report("", "", arms, [], [], {}, [])), "bars-a")

    def length(name: str) -> float:
        xs = [
            float(word) for word in bars[name].find("path").get("d").replace("L", " ").replace("M", " ").split()[:-1:2]
        ]
        return max(xs) - min(xs)

    unit = length("bars-a0-m0")
    assert unit > 5
    assert length("bars-a1-m0") == pytest.approx(4 * unit, rel=0.01)
    assert length("bars-a0-m1") == pytest.approx(2 * unit, rel=0.01)
    assert length("bars-a1-m1") == pytest.approx(3 * unit, rel=0.01)


def test_bars_are_not_cut_by_their_panel(report):
    svg = bar_figure(report)
    rects = {e.get("id"): e.find("rect") for e in ET.fromstring(svg).iter("clipPath")}
    for bar in groups(svg, "bars-a").values():
        path = bar.find("path")
        rect = rects[path.get("clip-path")[5:-1]]
        left, right = float(rect.get("x")), float(rect.get("x")) + float(rect.get("width"))
        xs = [float(x) for x in re.findall(r"[ML] ([\d.]+)", path.get("d"))]
        assert min(xs) == pytest.approx(left, abs=0.02)
        assert max(xs) < right - 20  # room for the written value


def test_values_are_written_with_all_digits(report):
    shown = texts(bar_figure(report))
    assert shown.count("0.512") == 1
    assert shown.count("0.551") == 2
    assert shown.count("–") == 2


def test_nothing_to_draw():
    assert bar_figure(Report("", "", [Arm("a", {"RR@10": float("nan")}, 1)], [], [], {}, [])) == ""
    assert curve_figure(Curve("", {"a": [], "b": [(1, float("inf"))]}), {}) == ""


def test_same_name_same_colour_everywhere(report):
    tints = colours(report)
    assert list(tints) == [*(arm.name for arm in report.arms), "total <x>", "encoder", "enhanced"]
    assert len(set(tints.values())) == 6
    svg = curve_figure(report.curves[1], tints, "curve1")
    assert tints[report.arms[2].name] in ET.tostring(groups(svg, "curve1-s")["curve1-s0"], "unicode")


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("count", [1, 4, 12])
def test_every_series_is_drawn_and_named(count, wide):
    names = ["_a $x$ <b>", *(f"decoders.x.mask.rate=0.{i}" for i in range(1, count))]
    curve = Curve("t", {name: [(step, 2.0 + i + 1 / (1 + step)) for step in range(9)] for i, name in enumerate(names)})
    svg = curve_figure(curve, {}, "c", wide)
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


def test_figures_are_small_and_name_no_address(report):
    series = {f"s{i}": [(x, (x * 7919 + i) % 101) for x in range(20_000)] for i in range(3)}
    svg = curve_figure(Curve("t", series), {})
    assert len(svg) < 40_000
    assert "http" not in svg + bar_figure(report)


def test_a_users_matplotlib_settings_are_kept(report):
    import matplotlib

    before = dict(matplotlib.rcParams)
    bar_figure(report)
    assert dict(matplotlib.rcParams) == before


def test_matplotlib_is_imported_late_and_pyplot_never():
    code = """
import sys
from bmae_lightning.report.page import html
from bmae_lightning.report.content import Arm, Report
assert not {"matplotlib", "torch", "hydra", "pytorch_lightning"} & set(sys.modules)
html(Report("", "", [Arm("a", {"RR@10": 0.5}, 1)], [], [], {}, []))
assert "matplotlib" in sys.modules and "matplotlib.pyplot" not in sys.modules
"""
    root = ROOT
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_names_of_arms_may_repeat(report):
    twice = replace(report, arms=[report.arms[0]] * 2)
    assert len(groups(bar_figure(twice), "bars-a")) == 8
