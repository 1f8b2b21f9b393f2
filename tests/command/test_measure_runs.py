"""Run files from any system: the table, the tests between runs, the values per query, and what is refused."""

import json
import random
import re

import pytest

from bmae_lightning.command.measure_runs import judge
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


@pytest.mark.parametrize(
    ("runs", "more", "message"),
    [
        (["a.trec", "a.trec"], {}, "names a file twice"),
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
        judge([str(files / run) for run in runs], str(files / "qrels"), more.get("measures", MEASURES), per_query)
    assert {path: path.read_bytes() for path in files.iterdir()} == before


def test_the_command_leaves_nothing_behind(files, cli_here):
    before = sorted(files.iterdir())
    output = cli_here("evaluate", f"run=[{files / 'a.trec'},{files / 'b.trec'}]", f"qrels={files / 'qrels'}", code=0)
    assert re.search(r"^b\.trec − a\.trec +\+0\.\d{3}\* ", output, re.MULTILINE)
    assert sorted(files.iterdir()) == before
