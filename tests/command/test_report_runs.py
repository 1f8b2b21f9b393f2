"""A page over runs that were not one sweep: BM25 with several settings, on two collections, by the command."""

import re
from pathlib import Path

import pytest
from support.command import main_here, write_collection

from bmae_lightning.evaluation.measure.significance import differences
from bmae_lightning.report.content import read_report
from bmae_lightning.runtime.files import read_json

QUICK = ["corpus=beir", "stage=[bm25,report]", "logger=none", "report.cases=0", "measures=[RR@10,nDCG@10,R@2]"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory, collection):
    """The outputs of a single run, a sweep of two, and one on another collection."""
    root = tmp_path_factory.mktemp("runs")
    other = write_collection(root / "other", 45)
    for arguments in (
        [f"corpus.path={collection}", "hydra.run.dir=outputs/runs/one"],
        ["-m", f"corpus.path={collection}", "bm25.ranker.k1=0.1,3", "hydra.sweep.dir=outputs/multirun/two"],
        [f"corpus.path={other}", "hydra.run.dir=outputs/runs/other"],
    ):
        with pytest.MonkeyPatch.context() as patch:
            assert main_here(patch, root, *QUICK, *arguments) == 0
    return root / "outputs"


@pytest.fixture
def report(here, runs):
    """The command, for these outputs."""
    return lambda *arguments, **more: here(*arguments, f"output_dir={runs}", **more)


def arms(directory):
    return {arm.name: arm.measures for arm in read_report(directory / "report.json").arms}


def stage(run):
    """The directory of the BM25 stage of a run."""
    return Path(read_json(run / "result.json")["nodes"]["bm25"])


def test_runs_and_sweeps_become_one_page(runs, report):
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*") if path.is_file()}
    one, two = runs / "runs" / "one", runs / "multirun" / "two"
    output = report("report", f"report.runs=[{one},{two}]", "report.name=k1", "report.cases=2")
    page = runs / "reports" / "k1" / "report.html"
    assert f"report: {page}" in output
    found = arms(page.parent)
    jobs = {"bm25 bm25.ranker.k1=0.9": one, "bm25 bm25.ranker.k1=0.1": two / "0", "bm25 bm25.ranker.k1=3": two / "1"}
    assert list(found) == list(jobs)
    for name, run in jobs.items():
        assert found[name] == read_json(stage(run) / "metrics.json")["test"]["mean"]
        assert name in page.read_text().replace("<wbr>", "")
    values = {name: read_json(stage(run) / "per_query.test.json")["RR@10"] for name, run in jobs.items()}
    content = read_report(page.parent / "report.json")
    wanted = {(row.arm, row.against): row.difference for row in differences("RR@10", values)}
    assert {(row.arm, row.against): row.difference for row in content.differences} == wanted
    assert len(content.cases) == 2
    assert {path.suffix for path in (page.parent / "tables").iterdir()} == {".md", ".tex", ".csv"}
    after = {path: path.stat().st_mtime_ns for path in before}
    assert after == before, "what has run is left alone"
    new = {path.relative_to(runs).parts[0] for path in runs.rglob("*") if path.is_file() and path not in before}
    assert new == {"reports"}


def test_options_of_a_report_that_the_command_names(runs, report):
    one, job = runs / "runs" / "one", runs / "multirun" / "two" / "1"
    report(f"report.runs=[{one},{job}]", "measures=[R@2,nDCG@10]", "report.significance=[nDCG@10]")
    content = read_report(runs / "reports" / "one+1" / "report.json")
    assert [list(arm.measures) for arm in content.arms] == [["R@2", "nDCG@10"]] * 2
    assert {row.measure for row in content.differences} == {"nDCG@10"}
    assert content.cases == []
    output = report(f"report.runs=[{one},{job}]", "measures=[P@3]", code=2)
    assert re.search("error: measures: P@3 was not measured for bm25 on test, RR@10, nDCG@10, R@2 were", output)


def test_rows_of_different_collections_have_a_page_each(runs, report):
    everything = [runs / "runs" / "one", runs / "runs" / "other", runs / "multirun" / "two"]
    report("report", f"report.runs=[{','.join(map(str, everything))}]", "report.name=both")
    root = runs / "reports" / "both"
    assert {path.name for path in root.iterdir()} == {"beir", "other"}
    assert len(arms(root / "beir")) == 3
    assert list(arms(root / "other").values()) == [read_json(stage(everything[1]) / "metrics.json")["test"]["mean"]]
    assert read_report(root / "other" / "report.json").title == "both other"
    report("report", f"report.runs=[{everything[0]}]", "report.name=both")
    assert {path.name for path in root.iterdir()} == {"report.html", "report.json", "tables"}, "nothing stale stays"


def test_a_fingerprint_is_enough(runs, report):
    fingerprint = read_json(runs / "multirun" / "two" / "1" / "result.json")["fingerprint"]
    report(f"report.runs=['{fingerprint[:8]}']")
    assert list(arms(runs / "reports" / fingerprint[:8])) == ["bm25"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["report.runs=[12e456]"], "error: report.runs: inf is read as a number; quote the digits"),
        (["bm25", "report", "report.runs=[DIR/runs/one]"], "error: report.runs= only looks at finished runs, without"),
        (
            ["report.name=x"],
            r"error: report.name is the name of a page .* report report.runs=\[DIR,DIR\]",
        ),
        (["report.runs=[DIR/runs/one]", "report.name=a/b"], "error: report.name=a/b: give the name of a directory"),
    ],
)
def test_what_is_refused_in_one_line(here, tmp_path, arguments, message):
    output = here(*(item.replace("DIR", str(tmp_path)) for item in arguments), code=2)
    assert re.match(message, output)
    assert output.count("\n") == 1
    assert not list(tmp_path.rglob("*"))


def test_judgments_that_are_gone_are_told(runs, report):
    prepared = Path(read_json(runs / "runs" / "other" / "result.json")["nodes"]["prepare"])
    prepared.rename(runs / "gone")
    output = report(f"report.runs=[{runs / 'runs' / 'one'},{runs / 'runs' / 'other'}]", code=2)
    (runs / "gone").rename(prepared)
    assert re.search("error: report.runs: the judgments of .*other, in .*/prepare-.*, are gone: run it again", output)
