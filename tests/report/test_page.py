import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from bmae_lightning.report.content import Answer, Case, Report
from bmae_lightning.report.page import html, write_html

VOID = {"meta", "link", "br", "wbr", "img", "hr"}
SECTIONS = ["measures", "bars", "significance", "cases", "curves", "diagnostics", "samples", "settings", "notes"]


class Page(HTMLParser):
    """Checks that tags nest and collects every (tag, attributes) and the text of every element."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str]]] = []
        self.words: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append((self.open[-1] if self.open else "", data))


@pytest.fixture
def empty() -> Report:
    return Report("")


def test_every_section_is_there_even_when_empty(report, empty):
    for content in (report, empty):
        sections = [attrs["id"] for tag, attrs in Page(html(content)).tags if tag == "section"]
        assert sections == SECTIONS


def test_ids_are_unique_and_references_hold(report):
    split = replace(report, arms=[*report.arms, *(replace(arm, split="dl19") for arm in report.arms)])
    for content in (report, split):
        page = Page(html(content))
        ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
        assert len(ids) == len(set(ids))
        assert not [name for name in ids if re.search(r"\s", name)]
        refer = {a[key].lstrip("#") for _, a in page.tags for key in ("aria-labelledby", "href") if key in a}
        refer |= set(re.findall(r"url\(#([^)]*)\)", html(content)))
        assert refer - {"data:,"} <= set(ids)


def test_what_the_report_says_is_escaped(report):
    text = html(report)
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "RetroMAE &amp; &lt;friends&gt;" in text
    assert "k1=0.9 &lt;b&gt;" in text
    hostile = '"><svg onload=x>'
    bad = replace(report, title=hostile, arms=[replace(arm, name=hostile + arm.name) for arm in report.arms])
    assert "<svg onload" not in html(bad)
    assert not [attrs for _, attrs in Page(html(bad)).tags if "onload" in attrs]


def test_the_page_asks_for_nothing(report):
    page = Page(html(report))
    for tag, attrs in page.tags:
        assert tag not in {"script", "iframe", "img", "object", "embed"}
        for key in ("src", "href", "xlink:href", "data", "action"):
            assert attrs.get(key, "#").startswith(("#", "data:"))
    text = html(replace(report, notes=[]))  # the note of this report names an address, as plain text
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", text)


def test_best_values_are_strong(report):
    strong = [word for tag, word in Page(html(report)).words if tag == "strong"]
    assert strong == ["0.551", "0.512", "0.551", "0.891"]


def test_tables_and_figures_can_be_read_aloud(report):
    page = Page(html(report))
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")
    figures = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert len(figures) == 4
    assert all(attrs["role"] == "img" and attrs["aria-label"] for attrs in figures)
    assert [word for tag, word in page.words if tag == "abbr"] == ["–", "–"]


def test_diagnoses_stand_in_a_section_of_their_own(report):
    text = html(report)
    part = text[text.index('<section id="diagnostics"') : text.index('<section id="samples"')]
    for shown in (
        "Pre-training (retromae &lt;b&gt;)",
        "Who moves &lt;it&gt;?",
        "step 20",
        "50.0 %",
        "0.120",
        "all words",
    ):
        assert shown in part
    assert part.count("<svg") == 1


def test_tests_and_cases_stand_in_sections_of_their_own(report):
    text = html(report)
    part = text[text.index('<section id="significance"') : text.index('<section id="curves"')]
    for shown in ("+0.021", "0.1500", "who is &lt;she&gt;?", "query q7; arms differ most", "nobody &amp; nothing",
                  "&lt;script&gt;alert(2)&lt;/script&gt;", ">relevant<", ">not relevant<"):  # fmt: skip
        assert shown in part


def test_published_values_and_their_source_stand_beside_ours(report):
    text = html(report)
    assert "<small>paper 0.416</small>" in text
    assert "<small>paper: Table &lt;6&gt;</small>" in text


def test_masked_words_are_visible(report):
    page = Page(html(report))
    assert [word for tag, word in page.words if tag == "mark"] == ["Marked", "[MASK]", "[MASK]"]
    assert [word for tag, word in page.words if tag == "ins"] == ["Underlined", "a"]
    assert [word for tag, word in page.words if tag == "del"] == ["Wavy", "dog"]


def test_light_dark_and_print(report):
    text = html(report)
    assert "prefers-color-scheme:dark" in text
    assert "@media print" in text
    assert "#010203" not in text


def test_written_whole_and_the_same_twice(report, tmp_path):
    write_html(tmp_path / "report.html", report)
    first = (tmp_path / "report.html").read_bytes()
    write_html(tmp_path / "report.html", report)
    assert (tmp_path / "report.html").read_bytes() == first
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]
    assert len(first) < 80_000


def test_verdicts_on_the_answers_of_a_case():
    answers = [
        Answer({"bm25": 0.5, "<b>": 0.25}, "p&1", "a <i>text</i>\x1b[31m", 3), Answer({"c": 0.0}, "p2", "two", 0),
        Answer({"d": 0.0}, "p3", "three", None), Answer({"e": 0.0}, "", "", None), Answer({}, "p4", "four", 1),
    ]  # fmt: skip
    page = html(Report("", cases=[Case("q<1>", "what is <this>?", "arms differ most", "RR@10", answers)]))
    part = page[page.index('<table class="cases">') :].replace("\n", "")
    rows = part[: part.index("</table>")].split("<tr>")[1:]
    assert "what is &lt;this&gt;?<small>query q&lt;1&gt;; arms differ most</small>" in rows[0]
    assert "bm25<small>RR@10 0.500</small>&lt;b&gt;<small>RR@10 0.250</small>" in rows[1]
    assert "a &lt;i&gt;text&lt;/i&gt; [31m<small>p&amp;1</small>" in rows[1]
    verdicts = [">relevant (3)<", ">not relevant<", ">not judged<", "nothing found", ">relevant<"]
    assert all(verdict in row for verdict, row in zip(verdicts, rows[1:], strict=True))
    assert '<th scope="row">judged relevant</th>' in rows[5]
