"""The page as a browser shows it: nothing is fetched, tables sort, a phone needs no scrolling to the side."""

import json
import re
import shutil
import subprocess
from html import unescape

import pytest
from support.full_report import full_report

from bmae_lightning.report.page import write_html

BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = [pytest.mark.slow, pytest.mark.skipif(BROWSER is None, reason="needs Chromium")]

PROBE = """<iframe src="report.html" style="width:390px;height:800px"></iframe><pre></pre><script>
document.querySelector("iframe").onload = event => {
  const page = event.target.contentDocument, found = {sorts: []};
  found.width = page.documentElement.scrollWidth;
  found.requests = event.target.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name);
  found.names = [...page.querySelectorAll(".wide tbody th:first-child")].filter(name => getComputedStyle(name).position
    === "sticky").map(name => name.getBoundingClientRect().width);
  const column = (table, place) => [...table.tBodies[0].rows].map(row => row.cells[place].textContent.trim());
  const click = (table, place) => {
    const button = table.tHead.lastElementChild.cells[place].querySelector("button");
    button.click();
    return [button.parentNode.getAttribute("aria-sort"), column(table, place)];
  };
  const [numbers] = [...page.querySelectorAll("#tables table")].slice(1);
  const jobs = page.querySelector("#jobs table"), printed = page.querySelector("#printed table");
  found.numbers = [0, 1, 2].map(() => click(numbers, 1));
  found.words = click(jobs, 1);
  found.printed = [click(printed, 1)[0], [...printed.rows].map(row => row.cells[0].textContent.trim())];
  document.querySelector("pre").textContent = JSON.stringify(found);
};
</script>"""


def browse(directory, *arguments: str) -> str:
    options = ["--no-sandbox", "--headless", "--disable-gpu", f"--user-data-dir={directory / 'profile'}"]
    done = subprocess.run([BROWSER, *options, *arguments], capture_output=True, text=True, timeout=120)
    return done.stdout


def test_tables_sort_and_nothing_is_wider_than_a_phone_or_fetched(tmp_path):
    write_html(tmp_path / "report.html", full_report())
    (tmp_path / "probe.html").write_text(PROBE)
    shown = browse(tmp_path, "--allow-file-access-from-files", "--virtual-time-budget=5000", "--dump-dom",
                   f"file://{tmp_path / 'probe.html'}")  # fmt: skip
    found = json.loads(unescape(re.search("<pre>(.*?)</pre>", shown, re.DOTALL).group(1)))
    assert found["width"] <= 390
    assert found["requests"] == []
    assert found["names"]
    assert max(found["names"]) <= 0.45 * 390
    written = ["1,234", "98,765", "failed", "7"]
    assert found["numbers"] == [
        ["descending", ["98,765", "1,234", "7", "failed"]],
        ["ascending", ["7", "1,234", "98,765", "failed"]],
        [None, written],
    ]
    assert found["words"] == ["ascending", ["done", "failed", "interrupted", "not started"]]
    rows = ["row", "RetroMAE", "CDMAE", "MASTER", "ColBERT (reference)"]
    assert found["printed"] == ["descending", rows], "the reference stays below the rule, rows without values last"


def test_all_of_the_page_is_printed(tmp_path):
    pdftotext = shutil.which("pdftotext")
    if pdftotext is None:
        pytest.skip("needs pdftotext")
    write_html(tmp_path / "report.html", full_report())
    browse(tmp_path, f"--print-to-pdf={tmp_path / 'page.pdf'}", f"file://{tmp_path / 'report.html'}")
    done = subprocess.run([pdftotext, "-layout", str(tmp_path / "page.pdf"), "-"], capture_output=True, text=True)
    words = " ".join(done.stdout.split())
    for shown in (
        "The 6 single runs",
        "ColBERT",
        "no evidence about pre-training",
        "should have been found",
        "not started",
    ):
        assert shown in words
    assert words.count("+experiment=retromae") > 20, "commands in closed parts too"
