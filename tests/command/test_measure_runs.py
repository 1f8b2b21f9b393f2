"""Run files from any system: the table, the tests between runs, the values per query, and what is refused."""

import json
import random
import re

import pytest

from bmae_lightning.command.measure_runs import judge
from bmae_lightning.evaluation.measure.bootstrap import intervals
from bmae_lightning.evaluation.measure.ranking import evaluate
from bmae_lightning.evaluation.measure.significance import differences
from bmae_lightning.evaluation.measure.trec import Run, write_qrels, write_run
from bmae_lightning.runtime.errors import BadInput

MEASURES = ["MRR@10", "nDCG@10"]


@pytest.fixture
def files(tmp_path):
    rng = random.Random(3)
    write_qrels(tmp_path / "qrels", {f"q{i}": {f"d{i}": 1} for i in range(40)})
    for name, width in (("a.trec", 40), ("b.trec", 6)):
        rankings = {f"q{i}": [(f"d{i + k}", 0.0) for k in rng.sample(range(width), 6)] for i in range(4, 43)}
        write_run(tmp_path / name, Run(rankings), "t")
    return tmp_path


def test_one_run(files, capsys):
    report = judge([str(files / "a.trec")], str(files / "qrels"), MEASURES)
    measured = evaluate(files / "qrels", files / "a.trec", MEASURES)
    assert report.arms[0].measures == measured.mean
    output = capsys.readouterr().out
    assert report.arms[0].interval["RR@10"] == intervals({"a": measured.per_query["RR@10"]})["a"]
    low, high = report.arms[0].interval["RR@10"]
    assert low < measured.mean["RR@10"] < high
    assert f"{low:.3f} to {high:.3f}" in output
    assert "95 % intervals over queries" in output
    assert "qrels: 40 judged queries" in output
    assert f"{measured.mean['RR@10']:.3f}" in output
    assert "answers 36 of 40 judged queries, 6 ranks at most; 3 more of its queries are not judged" in output
    assert "Holm" not in output
    assert len(list(files.iterdir())) == 3


def test_several_runs_are_tested_against_each_other(files, capsys):
    report = judge(
        [str(files / "a.trec"), str(files / "b.trec")], str(files / "qrels"), MEASURES, str(files / "pq.jsonl")
    )
    alone = {name: evaluate(files / "qrels", files / name, MEASURES).per_query for name in ("a.trec", "b.trec")}
    assert report.differences == differences("RR@10", {name: alone[name]["RR@10"] for name in alone})
    assert report.differences[0].t_holm < 0.05
    output = capsys.readouterr().out
    assert re.search(r"^b\.trec − a\.trec +\+0\.\d{3}\* ", output, re.MULTILINE)
    lines = [json.loads(line) for line in (files / "pq.jsonl").read_text().splitlines()]
    assert len(lines) == 80
    for line in lines:
        assert line["nDCG@10"] == alone[line["run"]]["nDCG@10"][line["query"]]
    assert str(files / "pq.jsonl") in output


def test_files_of_one_name_go_by_their_paths(files):
    (files / "other").mkdir()
    (files / "other" / "a.trec").write_bytes((files / "b.trec").read_bytes())
    paths = [str(files / "a.trec"), str(files / "other" / "a.trec"), str(files / "b.trec")]
    report = judge(paths, str(files / "qrels"), MEASURES)
    assert [arm.name for arm in report.arms] == [*paths[:2], "b.trec"]


def placed(run, directory):
    """The entry of `run=` with its file in a directory."""
    if isinstance(run, str):
        return str(directory / run)
    return run | ({"path": str(directory / run["path"])} if "path" in run else {})


def test_a_run_has_the_name_it_is_given(files):
    paths = [{"name": "ours", "path": str(files / "a.trec")}, str(files / "b.trec"), {"path": str(files / "c.trec")}]
    (files / "c.trec").write_bytes((files / "b.trec").read_bytes())
    report = judge(paths, str(files / "qrels"), MEASURES, str(files / "pq.jsonl"))
    assert [arm.name for arm in report.arms] == ["ours", "b.trec", "c.trec"]
    assert report.arms[0].measures == evaluate(files / "qrels", files / "a.trec", MEASURES).mean
    lines = [json.loads(line) for line in (files / "pq.jsonl").read_text().splitlines()]
    assert {line["run"] for line in lines} == {"ours", "b.trec", "c.trec"}


def test_runs_and_pairs_of_ms_marco_are_measured_as_trecs(tmp_path, cli_here):
    """Ranks that go on over queries, a query without answer, a passage that is not judged."""
    lines = [("q1", "d2", 1, 5), ("q1", "d1", 2, 4), ("q2", "d4", 3, 3), ("q2", "d3", 4, 2), ("q2", "dX", 5, 1)]
    (tmp_path / "a.trec").write_text("".join(f"{q} Q0 {d} {rank} {score}.0 t\n" for q, d, rank, score in lines))
    (tmp_path / "m.tsv").write_text("".join(f"{q}\t{d}\t{rank}\n" for q, d, rank, _ in lines))
    (tmp_path / "qrels.txt").write_text("q1 0 d1 1\nq1 0 d2 0\nq2 0 d3 2\nq2 0 d4 -1\nq3 0 d5 1\n")
    (tmp_path / "pairs.tsv").write_text("q1\td1\nq2\td3\nq3\td5\n")
    measures = ["RR@10", "nDCG@10", "R@1000"]
    found = [
        judge(str(tmp_path / run), str(tmp_path / qrels), measures).arms[0].measures
        for run, qrels in (("a.trec", "qrels.txt"), ("m.tsv", "qrels.txt"), ("a.trec", "pairs.tsv"))
    ]
    assert found[0]["RR@10"] == pytest.approx((1 / 2 + 1 / 2 + 0) / 3)
    assert found == [found[0]] * 3
    named = f"run=[{{name: ours, path: {tmp_path / 'm.tsv'}}},{tmp_path / 'a.trec'}]"
    output = cli_here("evaluate", named, f"qrels={tmp_path / 'pairs.tsv'}", code=0)
    assert re.search(r"^ours +0\.333", output, re.MULTILINE)


@pytest.mark.parametrize(
    ("runs", "more", "message"),
    [
        (["a.trec", "a.trec"], {}, "names a file twice"),
        ([{"name": "b.trec", "path": "a.trec"}, "b.trec"], {}, "two runs are called 'b.trec'; give one of them"),
        ([{"path": "a.trec", "label": "x"}], {}, "run: 'label' is no part of a run, which has path, name, third"),
        ([{"name": "x"}], {}, "has no path; write {path: FILE, name: NAME}"),
        ([{"path": "a.trec", "third": "ranks"}], {}, "third must be one of rank, score, got 'ranks'; did you mean"),
        (["empty"], {}, r"empty: the run is empty"),
        (["foreign"], {}, r"foreign: none of the 1 queries of the run is judged \(the run has query 'x'"),
        (["a.trec"], {"per_query": "qrels"}, "per_query=.*qrels is one of the files"),
        (["a.trec"], {"measures": ["nDGC@10"]}, "unknown measure 'nDGC@10'"),
    ],
)
def test_what_is_refused(files, runs, more, message):
    (files / "empty").write_text("\n")
    (files / "foreign").write_text("x Q0 d 1 1 t\n")
    per_query = more.get("per_query") and str(files / more["per_query"])
    before = {path: path.read_bytes() for path in files.iterdir()}
    with pytest.raises(BadInput, match=message):
        judge([placed(run, files) for run in runs], str(files / "qrels"), more.get("measures", MEASURES), per_query)
    assert {path: path.read_bytes() for path in files.iterdir()} == before


def test_the_command_leaves_nothing_behind(files, cli_here):
    before = sorted(files.iterdir())
    output = cli_here("evaluate", f"run=[{files / 'a.trec'},{files / 'b.trec'}]", f"qrels={files / 'qrels'}", code=0)
    assert re.search(r"^b\.trec − a\.trec +\+0\.\d{3}\* ", output, re.MULTILINE)
    assert sorted(files.iterdir()) == before
