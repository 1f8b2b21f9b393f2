import base64
import hashlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
from support.full_report import full_report

from bmae_lightning.report.content import Answer, Case, Place, Report
from bmae_lightning.report.page import html, write_html

VOID = {"meta", "link", "br", "wbr", "img", "hr"}
SECTIONS = ["measures", "significance", "bars", "cases", "curves", "diagnostics", "samples", "settings", "notes"]
FULL = ["printed", "verdicts", "measures", "tables", "significance", "behind", "bars", "along", "cases", "curves",
        "diagnostics", "samples", "jobs", "settings", "notes"]  # fmt: skip


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


@pytest.fixture(scope="module")
def full() -> str:
    """The page of a report with everything."""
    return html(full_report())


@pytest.fixture
def empty() -> Report:
    return Report("")


def test_every_section_is_there_even_when_empty(report, empty, full):
    for content in (report, empty):
        sections = [attrs["id"] for tag, attrs in Page(html(content)).tags if tag == "section"]
        assert sections == SECTIONS
    sections = [attrs["id"] for tag, attrs in Page(full).tags if tag == "section"]
    assert sections == FULL


def test_contents_link_to_each_section_there_is(empty, full):
    for page in map(Page, (html(empty), full)):
        sections = [attrs["id"] for tag, attrs in page.tags if tag == "section"]
        assert [attrs["href"] for tag, attrs in page.tags if tag == "a"] == [f"#{name}" for name in sections]


def test_ids_are_unique_and_references_hold(report, full):
    split = replace(report, arms=[*report.arms, *(replace(arm, split="dl19") for arm in report.arms)])
    for text in (html(split), full):
        page = Page(text)
        ids = [attrs["id"] for _, attrs in page.tags if "id" in attrs]
        assert len(ids) == len(set(ids))
        assert not [name for name in ids if re.search(r"\s", name)]
        refer = {a[key].lstrip("#") for _, a in page.tags for key in ("aria-labelledby", "href") if key in a}
        refer |= set(re.findall(r"url\(#([^)]*)\)", text))
        assert refer - {"data:,"} <= set(ids)


def test_what_the_report_says_is_escaped(report):
    text = html(report)
    assert re.findall("<script[^>]*>", text) == ["<script>"]
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
        assert tag not in {"iframe", "img", "object", "embed", "form"}
        assert tag != "script" or not attrs
        for key in ("src", "href", "xlink:href", "data", "action"):
            assert attrs.get(key, "#").startswith(("#", "data:"))
    text = html(replace(report, notes=[]))  # the note of this report names an address, as plain text
    assert not re.search(r"https?:|//[a-z]|@import|url\((?!#)", text)
    assert not re.search(r"fetch|XMLHttpRequest|WebSocket|import\(|sendBeacon|EventSource", text)


def test_the_content_policy_allows_exactly_the_script_of_the_page(report):
    text = html(report)
    (script,) = re.findall("<script>(.*?)</script>", text, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    (policy,) = [attrs["content"] for _, attrs in Page(text).tags if "http-equiv" in attrs]
    assert f"script-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none';")
    assert not [name for _, attrs in Page(text).tags for name in attrs if name.startswith("on")]


def test_best_values_are_strong(report):
    page = html(report)
    for part in (page[page.index('id="measures"') : page.index('id="significance"')], page[page.index('id="bars"') :]):
        assert sorted(re.findall("<strong>(.*?)</strong>", part)) == ["0.512", "0.551", "0.551", "0.891"]


def test_tables_and_figures_can_be_read_aloud(report):
    page = Page(html(report))
    assert all("scope" in attrs for tag, attrs in page.tags if tag == "th")
    figures = [attrs for tag, attrs in page.tags if tag == "svg"]
    assert len(figures) == 3
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
    assert '<th scope="row">should have been found</th>' in rows[5]


def test_the_passage_that_should_have_been_found_has_its_places():
    places = {"a": Place(None, 1000), "b<": Place(4, 1000), "c": Place(1, 20), "d": Place(None, 0), "e": Place(4, 9)}
    answer = Answer({}, "p", "text", 1, places)
    text = html(Report("", cases=[Case("q", "what?", "drawn at random", "RR@10", [answer])])).replace("\n", "")
    lines = ["rank 1: c", "rank 4: b&lt;, e", "not in the top 1,000: a", "nothing found: d"]
    assert "".join(f"<small>{line}</small>" for line in lines) in text


def test_numbers_are_sorted_as_numbers_and_what_is_missing_has_none(full):
    part = full.partition('id="tables1-head"')[2].partition("</table>")[0]
    assert '<table class="sortable">' in part
    assert re.findall('data-v="([^"]*)"', part) == ["1234.5", "0.34", "98765.4", "7.1", "0.002"]
    assert '<td class="number short bad">failed</td>' in part
    assert part.count("<code>python -m bmae_lightning") == 3


def test_states_verdicts_and_daggers_are_told_apart(full):
    for shown in (
        'text short good">done<', 'text short bad">failed<', 'text short off">not started<', 'text short good">OK<',
        'text short bad">FAIL<', 'text short middling">OKish<', 'text off">not comparable: scale=laptop<',
        'number short off">not run<', '</strong><sup title="differs from no pre-training (Holm, p &lt; 0.05)">†</sup>',
        "† differs from no pre-training (Holm, p &lt; 0.05).", '<tbody class="summary">', '<tr class="reference">',
        "The 6 single runs behind the means",
    ):  # fmt: skip
        assert shown in full


def test_what_was_found_stands_first(full):
    first = full.partition('<div class="found">')[2].partition("</div>")[0]
    assert len(Page(first).words) == len(full_report().headline) > 4
    assert full.index('<div class="found">') < full.index("<nav") < full.index("<main>")
