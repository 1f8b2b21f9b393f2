"""A paper's table over the jobs of a sweep: whose values stand where, what is missing, references, remarks, digits."""

import json

import pytest

from bmae_lightning.report.content import Report
from bmae_lightning.report.page import html
from bmae_lightning.report.paper_table import ABOUT_GLUE, paper_table, verdict_table
from bmae_lightning.report.printed import read_table
from bmae_lightning.report.render import csv_text, latex, markdown
from bmae_lightning.report.verdict import ORDER, SPREAD
from bmae_lightning.runtime.table import BEST_OF_COLUMN, PAPER, REFERENCE, SUMMARY, Column, Table, text, write_tables

RUNGS = {"evaluate": "retriever1", "evaluate2": "retriever2", "rerank": "re-ranked", "bm25": "bm25", "suite": "suite",
         "glue": "glue"}  # fmt: skip
SCALE = "not comparable: scale=laptop"
COLUMNS = ["msmarco/dev/RR@10", "msmarco/dev/R@1000", "msmarco/dl19/nDCG@10", "nq/test/answer_R@20"]


@pytest.fixture
def job(tmp_path):
    """A job; `measured` maps the key of a node to split -> measure -> value, or to the tables that it left."""
    count = iter(range(100))

    def make(label="SimLM", results=None, measured=None, collection="msmarco", **more):
        made = {
            "name": "a", "paper_row": label and {"label": label, "system": "X", "from": None}, "paper_results": results,
            "collection": collection, "corpus": collection or "builtin", "scale": "paper",
            "overrides": [],
        }  # fmt: skip
        if measured is not None:
            made["nodes"] = {key: str(tmp_path / f"{key}-{next(count)}") for key in measured}
            for key, found in measured.items():
                directory = tmp_path / made["nodes"][key]
                directory.mkdir()
                if isinstance(found, list):
                    write_tables(directory, found)
                else:
                    means = {
                        split: {"mean": values, "queries": 43 if "dl" in split else 6980}
                        for split, values in found.items()
                    }
                    (directory / "metrics.json").write_text(json.dumps(means | {"passages_per_second": 3.0}))
        return made | more

    return make


def about(columns, **more):
    return read_table({"title": "SimLM Table 10", "columns": columns} | more)


def made(jobs, columns=COLUMNS, **more):
    return paper_table(about(columns, **more), jobs, RUNGS)


def cells(table):
    """Without the row of the order, and the column of the verdicts."""
    rows = [table.cells(row)[:-1] for row in range(len(table.rows))]
    return [row for row in rows if row[0] != ORDER]


def test_jobs_of_several_collections_fill_one_row(job):
    printed = {
        "msmarco/dev": {"evaluate": {"RR@10": 0.38, "R@1000": 0.983}}, "nq/test": {"evaluate2": {"answer_R@20": 0.843}},
    }  # fmt: skip
    none = {"evaluate@a": {"dev": {"RR@10": 0.3371}}}
    wikipedia = {"evaluate@a": {"dev": {"RR@10": 0.3712, "R@1000": 0.98}, "dl19": {"nDCG@10": 0.65}}}
    on_nq = {"evaluate2@a": {"test": {"answer_R@20": 0.8}}, "evaluate@a": {"dev": {"RR@10": 1}}}
    jobs = [
        job("none", printed, none, overrides=["+simlm=t10_none", "corpus=msmarco"]),
        job("Wikipedia", printed, wikipedia, overrides=["+simlm=t10_wikipedia", "corpus=msmarco"]),
        job("Wikipedia", printed, on_nq, "nq", overrides=["+simlm=t10_nq_wikipedia", "corpus=nq"]),
    ]
    table = made(jobs)
    assert table.title == "SimLM Table 10 (percent)"
    heads = ["row", "MS MARCO dev/RR@10", "MS MARCO dev/R@1000", "TREC DL 19/nDCG@10", "NQ test/R@20", "verdict"]
    assert [column.key for column in table.columns] == heads
    assert cells(table) == [
        ["none", "33.7", "-", "-", "-"], ["paper", "38.0", "98.3", "-", "84.3"],
        ["Wikipedia", "37.1", "98.0", "-", "80.0"], ["paper", "38.0", "98.3", "-", "84.3"],
    ]  # fmt: skip
    assert table.rows[2][1] == 37.12
    assert table.marked(PAPER) == [1, 3]
    assert table.emphasis() == {(2, 1): BEST_OF_COLUMN}, "printed values take no part, nor does a lone value of ours"


def test_columns_with_stages_tell_them_and_take_their_values(job):
    printed = {"msmarco/dev": {"evaluate": {"RR@10": 0.383}, "evaluate2": {"RR@10": 0.404}}}
    measured = {"evaluate@a": {"dev": {"RR@10": 0.1}}, "evaluate2@a": {"dev": {"RR@10": 0.2}}}
    columns = ["msmarco/dev/evaluate/RR@10", "msmarco/dev/evaluate2/RR@10", "msmarco/dev/rerank/RR@10"]
    table = made([job("MASTER", printed, measured)], columns, unit="fraction", digits=3, title="MASTER Table 5")
    assert table.title == "MASTER Table 5"
    assert [column.key.partition(", ")[2] for column in table.columns[1:-1]] == [
        "retriever1/RR@10", "retriever2/RR@10", "re-ranked/RR@10"
    ]  # fmt: skip
    assert cells(table) == [["MASTER", "0.100", "0.200", "-"], ["paper", "0.383", "0.404", "-"]]


def test_rungs_that_are_rows(job):
    label = {"evaluate": "BM25 negatives", "evaluate2": "+ mined", "rerank": "Cross-encoder"}
    printed = {"msmarco/dev": {"evaluate": {"RR@10": 0.38}, "evaluate2": {"RR@10": 0.391}, "rerank": {"RR@10": 0.437}}}
    measured = {"evaluate@a": {"dev": {"RR@10": 0.1}}, "evaluate2@a": {"dev": {"RR@10": 0.2}}}
    table = made([job(label, printed, measured)], ["msmarco/dev/RR@10"])
    assert cells(table) == [
        ["BM25 negatives", "10.0"], ["paper", "38.0"], ["+ mined", "20.0"], ["paper", "39.1"],
        ["Cross-encoder", "-"], ["paper", "43.7"],
    ]  # fmt: skip
    both = made([job(label, printed, measured)], ["msmarco/dev/evaluate/RR@10", "msmarco/dev/evaluate2/RR@10"])
    assert cells(both)[:4] == [
        ["BM25 negatives", "10.0", "-"], ["paper", "38.0", "-"], ["+ mined", "-", "20.0"], ["paper", "-", "39.1"]
    ]  # fmt: skip


def test_values_of_another_collection_are_not_shown_as_of_this_one(job):
    printed = {"msmarco/dev": {"evaluate": {"RR@10": 0.38}}}
    judged = {"evaluate@a": {"dev": {"RR@10": 0.9}, "test": {"RR@10": 0.8}}}
    table = made([job("SimLM", printed, judged, None, scale="laptop"), job("BERT", printed, judged, scale="gpu")])
    assert [row[:2] for row in cells(table)] == [["SimLM", "-"], ["paper", "38.0"], ["BERT", "90.0"], ["paper", "38.0"]]
    assert table.rows[0][0].split("\n")[1:] == ["corpus=builtin: another collection, measured below"]
    assert [row[-1] for row in table.rows[:3]] == [f"{SCALE}, corpus=builtin", "", "not comparable: scale=gpu"]


def test_jobs_that_failed_or_cannot_run_show_what_is_printed(job):
    printed = {"msmarco/dev": {"evaluate": {"RR@10": 0.38}}}
    jobs = [
        job("BERT", printed, {"evaluate@a": {"dev": {"RR@10": 0.337}}}),
        job("SimLM", printed), job("broken", {"RR@10": 0.3}), job(None, None, {}),
    ]  # fmt: skip
    references = [
        {"label": "AR2", "from": None, "why": "no code for it", "values": [0.395, None, None, 0.986]},
        {"label": "ANCE", "why": "no code for it", "values": [0.33, None, None, None], "digits": 2},
    ]
    table = made(jobs, references=references)
    assert cells(table) == [
        ["BERT", "33.7", "-", "-", "-"], ["paper", "38.0", "-", "-", "-"],
        ["SimLM", "not run", "-", "-", "-"], ["paper", "38.0", "-", "-", "-"],
        ["a", "-", "-", "-", "-"],
        ["AR2 (reference)", "39.5", "-", "-", "98.6"],
        ["ANCE (reference)", "33.00", "-", "-", "-"],
    ]  # fmt: skip
    assert table.marked(REFERENCE) == [6, 7]
    assert table.marked(SUMMARY) == [5, 6]
    assert table.notes[-1] == "AR2, ANCE: the paper's values alone; no code for it."
    assert not table.emphasis()
    assert made([], references=references).marked(SUMMARY) == []


def test_a_row_may_be_printed_with_digits_of_its_own(job):
    printed = {"msmarco/dev": {"evaluate": {"RR@10": 0.3553}}}
    row = {"label": "RetroMAE", "digits": 2}
    table = made([job("x", printed, {"evaluate@a": {"dev": {"RR@10": 0.35}}}, paper_row=row)])
    assert [line[1] for line in cells(table)] == ["35.0", "35.53"]
    assert csv_text(table).splitlines()[1:3] == ["RetroMAE,35.0,,,,OKish", "paper,35.53,,,,"]


def test_jobs_that_differ_in_their_seed_alone_are_one_row_and_others_two(job):
    judged = [{"evaluate@a": {"dev": {"RR@10": value}}} for value in (0.1, 0.2, 0.3, 0.4)]
    printed = {"msmarco/dev": {"evaluate": {"RR@10": 0.38}}}
    seeds = [
        job("A", printed, of, overrides=["+simlm=a", "corpus=msmarco", f"seed={i}"]) for i, of in enumerate(judged[:2])
    ]
    twins = [job("B", printed, of, overrides=[f"+simlm=b{i}"]) for i, of in enumerate(judged[2:])]
    found = [row[:2] for row in cells(made([*seeds, *twins]))[::2]]
    assert found == [["A", "15.0 ± 7.1"], ["B", "30.0"], ["B", "40.0"]]


def test_a_failed_job_and_one_that_did_not_run_carry_the_word_and_the_reason(job):
    """The word stands in every cell that is printed for the row; of several seeds or collections those that are there
    are shown."""
    printed = {"msmarco/dev": {"evaluate": {"RR@10": 0.38}}, "nq/test": {"evaluate": {"answer_R@20": 0.8}}}
    judged = {"evaluate@a": {"dev": {"RR@10": 0.38}}}
    jobs = [
        job("A", printed, overrides=["+x=a"], state="failed", reason="CUDA out of memory"),
        job("B", printed, overrides=["+x=b"], state="not run"),
        job("C", printed, judged, overrides=["+x=c", "seed=1"]),
        job("C", printed, overrides=["+x=c", "seed=2"], state="failed", reason="killed"),
        job("D", printed, judged, overrides=["+x=d", "corpus=msmarco"]),
        job("D", printed, None, "nq", overrides=["+x=d", "corpus=nq"], state="failed", reason="no title"),
        job("E", printed, None, None, overrides=["+x=e"], state="failed", reason="no path"),
    ]
    table = made(jobs)
    assert [row[:5] for row in cells(table)[::2]] == [
        ["A", "failed", "-", "-", "-"], ["B", "not run", "-", "-", "-"], ["C", "38.0", "-", "-", "-"],
        ["D", "38.0", "-", "-", "failed"], ["E", "failed", "-", "-", "failed"],
    ]  # fmt: skip
    assert [row[0].split("\n")[1:] for row in table.rows[:-1:2]] == [
        ["failed: CUDA out of memory"], [], ["failed (seed=2): killed"], ["failed (corpus=nq): no title"],
        ["failed: no path", "corpus=builtin: another collection, measured below"],
    ]  # fmt: skip
    assert [row[-1] for row in table.rows[:-1:2]] == [
        "1 failed, 1 not comparable: corpus=msmarco", "1 not run, 1 not comparable: corpus=msmarco",
        "1 OK, 1 not comparable: corpus=msmarco", "1 OK, 1 failed", "failed",
    ]  # fmt: skip


def test_means_over_seeds_count_each_directory_once(job):
    printed = {"msmarco/dev": {"evaluate": {"RR@10": 0.38}, "bm25": {"RR@10": 0.18}}}
    jobs = []
    for seed, value in enumerate((0.36, 0.38, 0.40)):
        one = job("A", printed, {"evaluate@a": {"dev": {"RR@10": value}}}, overrides=["+x=a", f"seed={seed}"])
        shared = jobs[0]["nodes"]["bm25"] if jobs else job("", {}, {"bm25": {"dev": {"RR@10": 0.2}}})["nodes"]["bm25"]
        jobs.append(one | {"nodes": one["nodes"] | {"bm25": shared}})
    columns = ["msmarco/dev/evaluate/RR@10", "msmarco/dev/bm25/RR@10"]
    table = made(jobs, columns)
    assert cells(table)[0] == ["A", "38.0 ± 2.0", "20.0"]
    assert table.rows[0][0] == "A\nmean of 3 seeds"
    assert (table.rows[0][1].runs, type(table.rows[0][2])) == (3, float)
    assert table.notes[-1] == SPREAD
    assert verdict_table(about(columns), jobs, RUNGS).cells(0)[2] == "38.0 ± 2.0"


def test_ours_against_the_papers_value_by_value(job):
    printed = {
        "msmarco/dev": {"evaluate": {"RR@10": 0.38, "R@1000": 0.98}},
        "msmarco/dl19": {"evaluate": {"nDCG@10": 0.7}},
    }
    values = {"dev": {"RR@10": 0.3839, "R@1000": 0.96}, "dl19": {"nDCG@10": 0.669}}
    jobs = [
        job("A", printed, {"evaluate@a": values}), job("B", printed, {"evaluate@a": values}, scale="gpu"),
        job("C", printed, state="failed"), job("D", printed, {"evaluate@a": {}}),
    ]  # fmt: skip
    table = verdict_table(about(COLUMNS), jobs, RUNGS)
    assert table.title == "SimLM Table 10: ours against the paper's (percent)"
    assert [table.cells(row) for row in range(7)] == [
        ["A", "MS MARCO dev/RR@10", "38.4", "38.0", "+0.4", "0.5 / 1.5", "OK"],
        ["A", "MS MARCO dev/R@1000", "96.0", "98.0", "-2.0", "0.5 / 1.5", "FAIL"],
        ["A", "TREC DL 19/nDCG@10", "66.9", "70.0", "-3.1", "1.5 / 4.5", "OKish"],
        ["B", "MS MARCO dev/RR@10", "38.4", "38.0", "+0.4", "0.5 / 1.5", "not comparable: scale=gpu"],
        ["B", "MS MARCO dev/R@1000", "96.0", "98.0", "-2.0", "0.5 / 1.5", "not comparable: scale=gpu"],
        ["B", "TREC DL 19/nDCG@10", "66.9", "70.0", "-3.1", "1.5 / 4.5", "not comparable: scale=gpu"],
        ["C", "MS MARCO dev/RR@10", "failed", "38.0", "-", "", "failed"],
    ]  # fmt: skip
    assert table.rows[9][2:] == (None, 38.0, None, "", "not measured")
    strict = about(COLUMNS, tolerances={"ok": 0.001, "okish": 0.003})
    assert verdict_table(strict, jobs, RUNGS).rows[0][-1] == "FAIL"
    assert "at most 0.1" in verdict_table(strict, jobs, RUNGS).notes[0]
    assert made(jobs).rows[0][-1] == "1 OK, 1 FAIL, 1 OKish"
    assert made(jobs).notes[0] == table.notes[0]


def test_the_order_of_rows_is_compared_also_on_another_collection_with_the_remark(job):
    def jobs(collection, split):
        paper = {"a": 0.38, "b": 0.36, "c": 0.30, "d": 0.29}
        ours = {"a": 0.9, "b": 0.7, "c": 0.8, "d": 0.1}
        return [
            job(name, {"msmarco/dev": {"evaluate": {"RR@10": paper[name], "R@1000": 0.9}}},
                {"evaluate@a": {split: {"RR@10": ours[name], "R@1000": 1.0}}}, collection, overrides=[f"+x={name}"])
            for name in paper
        ]  # fmt: skip

    here, elsewhere = made(jobs("msmarco", "dev")).rows[-1], made(jobs(None, "test")).rows[-1]
    assert here == (ORDER, "0.67 (4)", "- (4)", "- (0)", "- (0)", "")
    assert elsewhere == (*here[:-1], "not comparable: corpus=builtin")
    assert made(jobs("msmarco", "dev")[:2]).rows[-1][1] == "- (2)", "two rows are no order"


def zero_shot(*models):
    """What the suite leaves for these models, the later the better."""
    columns = ["collection", *(Column(name, ".3f", True) for name in models), Column("queries", ",")]
    rows = [[name, *(value + i / 10 for i in range(len(models))), 50]
            for name, value in {"TREC-COVID": 0.5, "NFCorpus": 0.3, "average of 2 (beir14)": 0.9}.items()]  # fmt: skip
    return [Table(f"Zero-shot {name}", columns, rows, [(2, 0, SUMMARY)]) for name in ("R@100", "nDCG@10")]


def test_values_of_a_benchmark_and_their_average(job):
    columns = [f"beir/test/suite/{name}" for name in ("TREC-COVID", "NFCorpus", "AVERAGE")]
    printed = {"beir/test": {"suite": {"TREC-COVID": 0.772, "NFCorpus": 0.308, "AVERAGE": 0.452}}}
    suites = [zero_shot("bm25", "a", "ab"), zero_shot("bm25"), zero_shot("bm25", "x")]
    jobs = [job(f"m{i}", printed, {"suite": suite}, None) for i, suite in enumerate(suites)]
    table = made(jobs, columns, unit="fraction", digits=3)
    assert [column.key for column in table.columns] == ["row", "TREC-COVID", "NFCorpus", "AVERAGE", "verdict"]
    assert cells(table)[::2] == [
        ["m0", "0.600", "0.400", "0.500"], ["m1", "0.500", "0.300", "0.400"], ["m2", "-", "-", "-"]
    ]  # fmt: skip
    assert cells(table)[1] == ["paper", "0.772", "0.308", "0.452"]
    assert table.rows[0][0] == "m0", "the collection that was trained on is not that of the columns"
    incomplete = made(jobs[:1], [*columns, "beir/test/suite/FEVER"])
    assert cells(incomplete)[0] == ["m0", "60.0", "40.0", "-", "-"]


def test_values_of_glue_stand_by_task(job):
    tasks = {"Matthews": "CoLA\n9 examples", "accuracy": "MRPC", "F1": "MRPC"}
    heads = ["", *(Column(name, ".3f", True, task) for name, task in tasks.items())]
    left = Table("GLUE", heads, [["", 0.5, 0.7, 0.8]])
    printed = {"glue/dev": {"glue": {"CoLA": 0.607, "MRPC": 0.891}}}
    table = made([job("MASTER", printed, {"glue@a": [left]}, None)], ["glue/dev/glue/CoLA", "glue/dev/glue/MRPC"])
    assert cells(table) == [["MASTER", "50.0", "70.0"], ["paper", "60.7", "89.1"]]
    assert table.notes[-1] == ABOUT_GLUE


def test_milliseconds_are_as_they_are_and_fewer_are_better(job):
    table = made([job("x", {"mine/x": {"rerank": {"ms": 0.9}}}, {})], ["mine/x/rerank/ms"], unit="milliseconds")
    assert table.columns[1].higher is False
    assert cells(table)[1] == ["paper", "0.9"]
    assert table.title == "SimLM Table 10 (milliseconds)"


def test_it_is_shown_everywhere(job):
    printed = {"msmarco/dev": {"evaluate": {"RR@10": 0.38}}}
    jobs = [
        job(label, printed, {"evaluate@a": {"dev": {"RR@10": value}}}, scale="laptop")
        for label, value in {"BERT": 0.337, "SimLM": 0.371}.items()
    ]
    references = [{"label": "AR2", "why": "no <code>", "values": [0.395, None, None, None]}]
    table = made(jobs, references=references)
    report = Report("x", printed=[table])
    assert Report.from_json(report.to_json()) == report
    page = html(report)
    assert '<section id="printed"' in page
    assert "<strong>37.1</strong><small>paper 38.0</small>" in page
    assert '<tr class="reference"><th scope="row">' in page
    assert "no &lt;code&gt;" in page
    assert 'colspan="2">MS MARCO dev</th>' in page
    assert page.count(SCALE) == 3, "of each row and of their order"
    shown = text(table).splitlines()
    assert ["AR2", "(reference)", "39.5", "-", "-", "-"] in [line.split() for line in shown]
    assert r"*AR2 (reference)* | 39.5 |" in markdown(table)
    assert r"\quad\emph{paper} & 38.0" in latex(table)
    assert csv_text(table).splitlines()[3:] == [
        f"SimLM,37.1,,,,{SCALE}", "paper,38.0,,,,", f"{ORDER},- (2),- (0),- (0),- (0),{SCALE}",
        "AR2 (reference),39.5,,,,",
    ]  # fmt: skip
