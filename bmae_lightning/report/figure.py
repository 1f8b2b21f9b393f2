"""Figures as inline SVG, drawn by matplotlib: one plot per curve.

The same name has the same colour in every figure.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from bmae_lightning.report.content import Curve, Report
from bmae_lightning.report.svg import canvas, element, style, text_width
from bmae_lightning.runtime.mean import Mean
from bmae_lightning.runtime.table import fold, is_number, printable

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Seven colours at least 31 CIELAB units apart to normal, deuteranope and protanope eyes (Machado 2009), with a contrast
# of 2.7 or more to both white and near-black paper.
PALETTE = ("#2d78b4", "#e17800", "#691eff", "#4ba578", "#a53c1e", "#6978ff", "#006969")
DASHES = ((None, None), (5, 2), (1.5, 1.5))
POINTS = 250  # a longer series is drawn as means of equal stretches


def colours(report: Report) -> dict[str, str]:
    """Colour of every arm and series by name: the same name has the same colour in every figure and table."""
    curves = report.curves + [curve for part in report.diagnoses for curve in part.curves]
    names = [arm.name for arm in report.arms] + [name for curve in curves for name in curve.series]
    return {name: PALETTE[i % len(PALETTE)] for i, name in enumerate(dict.fromkeys(names))}


@style()
def curve_figure(curve: Curve, tints: dict[str, str], name: str = "curve") -> str:
    """One plot of all series of `curve` in the colours `tints` (element ids begin with `name`); '' without points.

    Non-finite points are left out; the y axis is logarithmic where all values are positive and span a factor over 30.
    """
    series = {key: thinned(points) for key, points in curve.series.items()}
    series = {key: points for key, points in series.items() if points}
    if not series:
        return ""
    heights = [y for points in series.values() for _, y in points]
    logarithmic = not curve.linear and min(heights) > 0 and max(heights) > 30 * min(heights)
    direct = len(series) <= 4 and max(map(text_width, map(printable, series))) < 1.5
    labels = [printable(key) if direct else "\n".join(fold(printable(key), 44)) for key in series]
    legend = 0.0 if direct else _legend_height(labels)
    size = (5.2, 3.1 + legend)
    right = (max(map(text_width, labels)) + 0.15) if direct else 0.12
    figure = canvas(*size)
    box = (0.68, 0.5 + legend, size[0] - 0.68 - right, size[1] - 0.62 - legend)
    axes = figure.add_axes((box[0] / size[0], box[1] / size[1], box[2] / size[0], box[3] / size[1]))
    if logarithmic:
        axes.set_yscale("log")
    lines, used = [], []
    for i, (key, points) in enumerate(series.items()):
        tint = tints.get(key, PALETTE[i % len(PALETTE)])
        turn = curve.dashed.index(key) + 1 if key in curve.dashed else used.count(tint)  # a colour that comes again
        dash = DASHES[turn % len(DASHES)]
        used.append(tint)
        xs, ys = zip(*points, strict=True)
        mark = "o" if len(points) == 1 or curve.marked else ""
        (line,) = axes.plot(
            xs, ys, marker=mark, color=tint, linewidth=1.6, markersize=5, gid=f"s{i}", dashes=dash
        )  # fmt: skip
        lines.append(line)
        spread = [(x, y - y.sd, y + y.sd) for x, y in points if isinstance(y, Mean) and is_number(y.sd)]
        if spread and not logarithmic:
            axes.vlines(*zip(*spread, strict=True), color=tint, linewidth=1, alpha=0.6, gid=f"sd{i}")
    _axes(axes, curve, logarithmic)
    more = max(0.0, _tick_width(axes) - 0.28)  # wide numbers take their room from the lines, not from the label
    axes.set_position(((box[0] + more) / size[0], box[1] / size[1], (box[2] - more) / size[0], box[3] / size[1]))
    if direct:
        _direct_labels(axes, labels, [points[-1] for points in series.values()], box[3])
    else:
        drawn = figure.legend(lines, ["-"] * len(lines), loc="lower left", bbox_to_anchor=(0.5 / size[0], 0),
                              frameon=False, handlelength=2.2, borderaxespad=0.2,
                              alignment="left", labelspacing=0.45)  # fmt: skip
        for text, label in zip(drawn.get_texts(), labels, strict=True):
            text.set(text=label, parse_math=False)
    ends = "; ".join(f"{key} ends at {points[-1][1]:.4g}" for key, points in series.items())
    tips = {f"s{i}": key for i, key in enumerate(series)}
    return element(figure, name, f"{curve.title}: {curve.y} over {curve.x}; {ends}", tips)


def thinned(points: Iterable[tuple[float, float]], most: int = POINTS) -> list[tuple[float, float]]:
    """The finite points, or the means of at most `most` equal stretches of them; the last point is kept as it is."""
    finite = [(x, y) for x, y in points if is_number(x) and is_number(y)]
    if len(finite) <= most:
        return finite
    body, count = finite[:-1], most - 1
    cuts = [len(body) * i // count for i in range(count + 1)]
    parts = [body[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]
    return [(sum(x for x, _ in p) / len(p), sum(y for _, y in p) / len(p)) for p in parts] + finite[-1:]


def _axes(axes: "Axes", curve: Curve, logarithmic: bool) -> None:
    from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

    axes.set_xlabel(printable(curve.x), parse_math=False)
    axes.set_ylabel(printable(curve.y) + (" (log)" if logarithmic else ""), parse_math=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", alpha=0.15, linewidth=0.8)
    axes.set_axisbelow(True)
    axes.margins(x=0.02)
    axes.xaxis.set_major_locator(
        MaxNLocator(6, steps=[1, 2, 5, 10], integer=all(x == int(x) for x in axes.get_xlim()) or None)
    )
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x / 1000:g}k" if abs(x) >= 10_000 else f"{x:g}"))
    if logarithmic:
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=8))
        axes.yaxis.set_minor_formatter(NullFormatter())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))


def _tick_width(axes: "Axes") -> float:
    low, high = axes.get_ylim()
    shown = [axes.yaxis.get_major_formatter()(y) for y in axes.yaxis.get_majorticklocs() if low <= y <= high]
    return max(map(text_width, shown), default=0.0)


def _direct_labels(axes: "Axes", labels: list[str], ends: list[tuple[float, float]], tall: float) -> None:
    """Write each label right of its line's end, pushed apart to at least a line's height."""
    place = axes.transScale + axes.transLimits
    at = [float(place.transform(end)[1]) for end in ends]
    order = sorted(range(len(at)), key=at.__getitem__)
    step = 0.17 / tall
    for below, above in zip(order, order[1:], strict=False):
        at[above] = max(at[above], at[below] + step)
    ceiling = 1.0
    for i in reversed(order):
        at[i] = min(at[i], ceiling)
        ceiling = at[i] - step
    for i, label in enumerate(labels):
        # The page's ink, not the line's colour: legible on any paper; a small square carries the colour.
        axes.annotate(label, (1.0, at[i]), (9, 0), xycoords=axes.transAxes,
                      textcoords="offset points", va="center", annotation_clip=False, parse_math=False)  # fmt: skip
        axes.plot([1.0], [at[i]], "s", transform=axes.transAxes, clip_on=False, markersize=4.5, markeredgewidth=0,
                  color=axes.lines[i].get_color(), scalex=False, scaley=False)  # fmt: skip


def _legend_height(labels: list[str]) -> float:
    return 0.1 + sum(0.155 * (label.count("\n") + 1) + 0.055 for label in labels)
