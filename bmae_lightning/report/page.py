"""The report as one self-contained HTML page: tables, figures and rebuilt passages, readable offline and on paper.

The page asks for nothing outside itself (its own content policy forbids it); no equation here.
"""

import re
from html import escape
from pathlib import Path

from bmae_lightning.report.case import case_rows
from bmae_lightning.report.content import Curve, Report
from bmae_lightning.report.figure import bar_figure, colours, curve_figure
from bmae_lightning.report.sample import sample_rows
from bmae_lightning.report.scores import scores_html
from bmae_lightning.report.significance import ABOUT, HEADS, LEVEL, tables
from bmae_lightning.report.suite_table import section as suite_section
from bmae_lightning.report.table import printable, rows
from bmae_lightning.runtime.files import write_text

STYLE = """
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#5b6470;--line:#d9dee4;--tint:#f4f6f8;--mark:#ffe08a;
--good:#1a7f4b;--bad:#b3261e}
@media (prefers-color-scheme:dark){:root{--paper:#15181c;--ink:#e6e9ed;--soft:#9aa4b0;--line:#343b44;--tint:#1e2329;
--mark:#6b5300;--good:#5fce93;--bad:#ff8f86}}
*{box-sizing:border-box}
body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",sans-serif}
main,header,footer{max-width:66rem;margin:auto;padding:0 1.25rem}
header{padding-top:2rem}
h1{font-size:1.7rem;line-height:1.2;margin:0;overflow-wrap:anywhere}
h2{font-size:1.2rem;margin:2.2rem 0 .6rem}
h3{font-size:1rem;margin:1.4rem 0 .5rem;overflow-wrap:anywhere}
header p,.about,footer{color:var(--soft)}
header p{margin:.3rem 0 0}.about{margin:.4rem 0;font-size:.9rem}
footer{font-size:.85rem;padding-bottom:2rem;margin-top:2.5rem}
.wide{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}
th,td{padding:.35rem .5rem;text-align:right;border-bottom:1px solid var(--line);vertical-align:top}
th:first-child,td.text{text-align:left}
thead th{border-bottom:2px solid var(--ink);white-space:nowrap;vertical-align:bottom}
tbody th{font-weight:500;overflow-wrap:anywhere;min-width:13rem}
td.number{white-space:nowrap}
abbr{text-decoration:none}
th small,td small{display:block;color:var(--soft);font-size:.85em;font-weight:400}
tbody strong{font-weight:700}
.arms tbody th{padding-left:1.8em}
.swatch{display:inline-block;width:.7em;height:.7em;margin:0 .5em 0 -1.2em;border-radius:2px;print-color-adjust:exact;
-webkit-print-color-adjust:exact}
figure{margin:0 0 1rem}
figcaption{font-weight:600;margin:0 0 .2rem;overflow-wrap:anywhere}
svg{display:block;width:100%;height:auto}
.bars svg{min-width:36rem}
.curves{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(26rem,100%),1fr));gap:1rem 1.5rem}
.diagnosis thead th{white-space:normal}
.diagnosis tbody th{min-width:8rem}
.samples td,.cases td{overflow-wrap:anywhere}
.cases tbody th{min-width:9rem;width:12rem}.cases td:nth-child(2){white-space:nowrap}
.cases th[colspan]{font-weight:600;padding-top:1.2rem}
.good{color:var(--good)}.bad{color:var(--bad)}
summary{cursor:pointer}
.samples tbody+tbody tr:first-child>*{border-top:2px solid var(--soft)}
.samples th,.settings th{width:12rem;min-width:8rem;color:var(--soft)}
mark{background:var(--mark);color:inherit;border-radius:3px;padding:0 .15em}
ins{color:var(--good);font-weight:600;text-decoration:underline}
del{color:var(--bad);text-decoration:underline wavy}
.settings td{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:.88rem;overflow-wrap:anywhere}
@media print{:root{color-scheme:light;--paper:#fff;--ink:#000;--soft:#444;--line:#bbb;--mark:#ffe08a;--good:#1a7f4b;
--bad:#b3261e}
body{font-size:10.5pt}figure,tr,.samples tbody,.cases tbody{break-inside:avoid}h2,h3,p.key{break-after:avoid}
.curves{grid-template-columns:repeat(auto-fit,minmax(18rem,1fr))}.wide{overflow:visible}
.bars svg{min-width:0}main,header,footer{max-width:none;padding:0}
mark{print-color-adjust:exact;-webkit-print-color-adjust:exact}}
""".strip()
DIAGNOSTICS = """Losses of the decoders in nats per label, without dropout, with the passage's own bottleneck (true), with
that of another passage of the batch (shuffled) and with zeros (zero). Saved: shuffled less true; where it is 0, the decoder
does not use the bottleneck. Gradient share: length of the gradient of the weighted loss at the encoder's last layer, as a
share of all. Hidden: share of the positions that are masked. Function words: share of English function words and punctuation
among the hidden positions, and among all. Hidden and function words are means over the run.""".replace("\n", " ")
PAIRS = 15  # pairs of arms that are shown unasked
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def write_html(path: str | Path, report: Report) -> None:
    """Write the page whole or not at all; everything the report says is escaped."""
    write_text(path, html(report))


def html(report: Report) -> str:
    """The page of `report`: measures, tests, cases, curves, rebuilt passages, settings; empty sections say so."""
    sections = [
        ("measures", "Measures", _measures(report)),
        ("suite", "Zero-shot", suite_section(report.suites)),
        ("bars", "Measures by arm", _bars(report)),
        *([("scores", "Other tasks", scores_html(report.scores))] if report.scores else []),
        *([("along", "Along the sweep", _grid(report.along, {}, "along"))] if report.along else []),
        ("significance", "Significance of differences", _significance(report)),
        ("cases", "Cases", _cases(report)),
        ("curves", "Loss curves", _curves(report)),
        ("diagnostics", "Diagnostics of pre-training", _diagnostics(report)),
        ("samples", "Masked and rebuilt passages", _samples(report)),
        ("settings", "Settings", _settings(report)),
        ("notes", "Notes", _notes(report)),
    ]
    if not report.suites:
        sections = [section for section in sections if section[0] != "suite"]
    elif not report.arms and not report.scores:
        sections = [section for section in sections if section[0] in ("suite", "settings", "notes")]
    if report.scores and not report.arms:
        sections = [part for part in sections if part[0] not in ("measures", "bars", "significance", "cases")]
    body = "\n".join(
        f'<section id="{name}" aria-labelledby="{name}-head"><h2 id="{name}-head">{head}</h2>\n{content}</section>'
        for name, head, content in sections
    )
    subtitle = f"\n<p>{_text(report.subtitle)}</p>" if report.subtitle else ""
    title = _text(report.title) or "Report"
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<style>
{STYLE}
</style>
</head>
<body>
<header>
<h1>{title}</h1>{subtitle}
</header>
<main>
{body}
</main>
<footer>Made by bmae_lightning.</footer>
</body>
</html>
"""


def _measures(report: Report) -> str:
    if not report.arms:
        return _about("No arm has been evaluated.")
    tints = colours(report)
    heads = "".join(f'<th scope="col">{_text(name)}</th>' for name in [*report.measures(), "queries"])
    table = [row for row in rows(report) if not row.paper]
    papers = {row.arm: row for row in rows(report) if row.paper}
    lines = []
    for row in table:
        arm = report.arms[row.arm]
        swatch = f'<span class="swatch" style="background:{tints[arm.name]}"></span>'
        note = f"<small>{_text(arm.note)}</small>" if arm.note else ""
        if arm.paper and arm.paper_source:
            note += f"<small>paper: {_text(arm.paper_source)}</small>"
        cells = ""
        for i, cell in enumerate(row.cells):
            shown = f"<strong>{cell.text}</strong>" if cell.best else _missing(cell.text)
            if row.arm in papers and papers[row.arm].cells[i].text != "-":
                shown += f"<small>paper {papers[row.arm].cells[i].text}</small>"
            cells += f'<td class="number">{shown}</td>'
        head = f'<th scope="row">{swatch}{_breakable(arm.name)}{note}</th>'
        lines.append(f'<tr>{head}{cells}<td class="number">{row.queries}</td></tr>')
    head = f'<thead><tr><th scope="col">arm</th>{heads}</tr></thead>'
    about = ["Higher is better."]
    if any(cell.best for row in table for cell in row.cells):
        about.append("The best value of each column is bold.")
    if papers:
        about.append(
            "Values of the paper stand in small print below ours; only on the same collection do they compare."
        )
    return _scrolling(
        "measures-head", f'<table class="arms">{head}\n<tbody>\n' + "\n".join(lines) + "\n</tbody></table>"
    ) + _about(" ".join(about))


def _bars(report: Report) -> str:
    drawn = bar_figure(report)
    if not drawn:
        return _about("No measures to draw.")
    figure = f'<figure class="bars">{drawn}</figure>'
    return _scrolling("bars-head", figure) + _about("All panels share one scale that begins at 0.")


def _significance(report: Report) -> str:
    if not report.differences:
        return _about("Nothing was tested: that needs two arms with values per query (report.significance).")
    heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    parts = []
    for measure, pairs in tables(report).items():
        lines = []
        for (arm, against), (less, *others), clear in pairs:
            cells = [f"<strong>{less}</strong>" if clear else less, *map(_text, others)]
            cells = "".join(f'<td class="number">{cell}</td>' for cell in cells)
            pair = f"{_breakable(arm)}<small>− {_breakable(against)}</small>"
            lines.append(f'<tr><th scope="row">{pair}</th>{cells}</tr>')
        head = f'<thead><tr><th scope="col">{_text(measure)}</th>{heads}</tr></thead>'
        table = _scrolling("significance-head", f"<table>{head}\n<tbody>\n" + "\n".join(lines) + "\n</tbody></table>")
        few = " open" if len(pairs) <= PAIRS else ""
        parts.append(f"<details{few}><summary>{_text(measure)}: {len(pairs)} pairs</summary>\n{table}</details>\n")
    return "".join(parts) + _about(f"{ABOUT} Bold: both adjusted p below {LEVEL}.")


def _cases(report: Report) -> str:
    if not report.cases:
        return _about("None were chosen (report.cases).")
    table = '<table class="cases">' + "\n".join(map(case_rows, report.cases)) + "</table>"
    return _scrolling("cases-head", table) + _about("The passage that each arm ranks first.")


def _curves(report: Report) -> str:
    if not report.curves:
        return _about("No loss was logged.")
    return _grid(report.curves, colours(report), "curve") + _about(
        "Long series are drawn as means of equal stretches; values that are not finite are left out."
    )


def _grid(curves: list[Curve], tints: dict[str, str], name: str) -> str:
    figures = []
    for i, curve in enumerate(curves):
        drawn = curve_figure(curve, tints, name=f"{name}{i}", wide=len(curves) == 1)
        drawn = drawn or _about("No finite values.")
        figures.append(f"<figure><figcaption>{_breakable(curve.title)}</figcaption>{drawn}</figure>")
    return '<div class="curves">' + "\n".join(figures) + "</div>\n"


def _diagnostics(report: Report) -> str:
    if not report.diagnoses:
        return _about("None were logged (pretrain.diagnostics.every).")
    tints, parts = colours(report), []
    for i, part in enumerate(report.diagnoses):
        heads = "".join(f'<th scope="col">{_text(name)}</th>' for name in part.columns)
        lines = [
            f'<tr><th scope="row">{_breakable(name)}</th>'
            + "".join(f'<td class="number">{_text(cell)}</td>' for cell in cells)
            + "</tr>"
            for name, *cells in part.rows + part.texts
        ]
        head = f'<thead><tr><th scope="col">{_text(part.when)}</th>{heads}</tr></thead>'
        table = f'<table class="diagnosis">{head}\n<tbody>\n' + "\n".join(lines) + "\n</tbody></table>"
        parts.append(f'<h3 id="diagnosis{i}-head">Pre-training ({_breakable(part.arm)})</h3>\n')
        parts.append(_grid(part.curves, tints, f"diagnosis{i}-") if part.curves else "")
        parts.append(_scrolling(f"diagnosis{i}-head", table))
    return "".join(parts) + _about(DIAGNOSTICS)


def _samples(report: Report) -> str:
    if not report.samples:
        return _about("No passages were kept.")
    bodies = []
    for sample in report.samples:
        lines = [
            f'<tr><th scope="row">{name}</th><td class="text">{text}</td></tr>' for name, text in sample_rows(sample)
        ]
        bodies.append("<tbody>" + "\n".join(lines) + "</tbody>")
    key = (
        "<mark>Marked</mark>: hidden from the encoder or replaced. <ins>Underlined</ins>: a hidden word found again. "
        "<del>Wavy</del>: not the original word."
    )
    table = '<table class="samples">' + "\n".join(bodies) + "</table>"
    return f'<p class="about key">{key}</p>' + _scrolling("samples-head", table)


def _settings(report: Report) -> str:
    if not report.settings:
        return _about("None.")
    lines = [
        f'<tr><th scope="row">{_breakable(key)}</th><td class="text">{_text(str(value))}</td></tr>'
        for key, value in report.settings.items()
    ]
    table = '<table class="settings"><tbody>' + "\n".join(lines) + "</tbody></table>"
    return _scrolling("settings-head", table)


def _notes(report: Report) -> str:
    if not report.notes:
        return _about("None.")
    return "<ul>" + "".join(f"<li>{_text(note)}</li>" for note in report.notes) + "</ul>"


def _scrolling(label: str, content: str) -> str:
    return f'<div class="wide" role="region" aria-labelledby="{label}" tabindex="0">{content}</div>\n'


def _about(text: str) -> str:
    return f'<p class="about">{text}</p>'


def _missing(text: str) -> str:
    return text if text != "-" else '<abbr title="missing">–</abbr>'


def _breakable(name: str) -> str:
    """A name that may be broken after a dot or an equals sign, as an override needs."""
    return "<wbr>".join(escape(part) for part in re.split(r"(?<=[.=_/])(?!\d)", printable(name)))


def _text(text: str) -> str:
    return escape(printable(text))
