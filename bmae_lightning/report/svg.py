"""From a matplotlib figure to an <svg> element that lives inside a page: small, without ids that clash or any address.

Ink becomes `currentColor` and text stays text, so the page decides colour scheme and fonts.
"""

import io
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SIZE = 9.0  # font size, points
FONT = "DejaVu Sans"  # ships with matplotlib and is wider than what a page uses, so that measured text always fits
INK = "#010203"  # stands for currentColor until the SVG is written


@contextmanager
def style() -> Iterator[None]:
    """matplotlib's settings for a figure of this package; a user's own settings stay as they are."""
    import matplotlib

    inked = ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color")
    settings = dict.fromkeys(inked, INK) | {
        "svg.fonttype": "none",
        "svg.hashsalt": "report",
        "font.family": FONT,
        "font.size": SIZE,
        "xtick.labelsize": SIZE,
        "ytick.labelsize": SIZE,
        "axes.labelsize": SIZE,
        "axes.facecolor": "none",
        "axes.linewidth": 0.8,
        "axes.unicode_minus": False,
        "path.simplify": True,
    }
    with warnings.catch_warnings(), matplotlib.rc_context():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # the page's font may well have it
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        yield


def canvas(wide: float, tall: float) -> "Figure":
    """An empty figure of the given inches, unknown to pyplot."""
    from matplotlib.figure import Figure

    return Figure(figsize=(wide, tall), facecolor="none")


def text_width(text: str) -> float:
    """Width of one line of text in inches."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import TextPath

    if not text.strip():
        return 0.0
    path = TextPath((0, 0), text.replace("$", "S"), size=SIZE, prop=FontProperties(family=FONT))
    return float(path.get_extents().width) / 72


def element(figure: "Figure", name: str, label: str, tips: dict[str, str]) -> str:
    """The figure as one <svg> element; ids begin with `name`, `label` is read aloud, `tips` maps gids to tooltips."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>|<style.*?</style>|<!--.*?-->|<defs>\s*</defs>", "", text, flags=re.S)
    opening, rest = text.split(">", 1)
    box = re.search(r'viewBox="[^"]*"', opening).group()
    _, _, wide, tall = box.split('"')[1].split()
    rest = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', rest)
    rest = re.sub(r'(?:xlink:)?href="#([^"]*)"', rf'href="#{name}-\1"', rest)
    rest = re.sub(r"url\(#", f"url(#{name}-", rest)
    rest = re.sub(r"(font(?:-family)?: [^;\"]*?)'" + FONT + r"'[^;\"]*", r"\1sans-serif", rest)
    rest = rest.replace(INK, "currentColor")
    # Two decimals of a point are plenty for a path; text between tags keeps all of its digits.
    rest = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(?<=\d)(\.\d\d)\d+", r"\1", tag.group()), rest)
    rest = re.sub(r"\n\s*", "\n", rest)
    for gid, tip in tips.items():
        mark = f'<g id="{name}-{gid}">'
        rest = rest.replace(mark, f"{mark}<title>{escape(tip)}</title>")
    start = f'<svg {box} width="{wide}" height="{tall}" role="img" aria-label="{escape(label)}"'
    return (
        f'{start} style="max-width:{float(wide) * 1.38:.0f}px;stroke-linejoin:round;stroke-linecap:butt">{rest.strip()}'
    )
