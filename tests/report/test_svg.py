"""A figure as an element of a page: unique ids, no address, the page's ink, text as text."""

import re
import xml.etree.ElementTree as ET

import matplotlib
import pytest

from bmae_lightning.report.svg import FONT, INK, canvas, element, style, text_width


def drawn(name: str = "f", tips: dict | None = None) -> str:
    """A figure with a clipped line and a text."""
    with style():
        figure = canvas(2, 1)
        axes = figure.add_axes((0.1, 0.1, 0.8, 0.8))
        axes.plot([0, 1 / 3], [0, 1 / 7], gid="s0")
        axes.set_title("0.123456 & <b>", parse_math=False)
        return element(figure, name, 'a "label" & more', tips or {})


def test_ids_begin_with_the_name_and_references_follow():
    svg = drawn("left")
    ids = {part.get("id") for part in ET.fromstring(svg).iter() if part.get("id")}
    assert ids
    assert all(name.startswith("left-") for name in ids)
    assert set(re.findall(r"url\(#([^)]*)\)", svg)) <= ids
    assert not ids & {part.get("id") for part in ET.fromstring(drawn("right")).iter()} - {None}


def test_nothing_but_the_figure_is_left():
    svg = drawn()
    for gone in ("<?xml", "<!DOCTYPE", "<metadata", "<style", "http", INK, FONT):
        assert gone not in svg
    assert "currentColor" in svg
    root = ET.fromstring(svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == 'a "label" & more'
    assert "0.123456 & <b>" in ["".join(part.itertext()) for part in root.iter("text")]
    paths = [part.get("d") for part in root.iter("path")]
    assert not any(re.search(r"\.\d{3}", path) for path in paths)


def test_tips_and_repeatability():
    svg = drawn(tips={"s0": "a < b"})
    (group,) = [part for part in ET.fromstring(svg).iter() if part.get("id") == "f-s0"]
    assert group.find("title").text == "a < b"
    assert drawn() == drawn()


def test_settings_of_the_user_stay():
    matplotlib.rcParams["font.size"] = 31
    try:
        with style():
            assert matplotlib.rcParams["font.size"] == 9
        assert matplotlib.rcParams["font.size"] == 31
    finally:
        matplotlib.rcdefaults()


def test_widths_of_text():
    with style():
        assert text_width(" ") == 0
        assert text_width("mmmm") - text_width("mmm") == pytest.approx(text_width("mmm") - text_width("mm"), rel=0.01)
        assert text_width("$x$") > text_width("x")
