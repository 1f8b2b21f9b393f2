"""The report stage: published values go to the arm with pre-training, diagnoses to the page, and to nothing else."""

import itertools
import json
import re

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from support.paths import CONF

from bmae_lightning.command.plan import plan
from bmae_lightning.report.content import read_report
from bmae_lightning.report.tables import measures_table, measures_tables
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.stage import Context
from bmae_lightning.runtime.table import Column, Table, text, write_tables
from bmae_lightning.stage.report import MakeReport

PAPER = {"RR@10": 0.3553, "R@1000": 0.9763}
SHOWN_AS = {
    "bm25": "bm25", "evaluate": "", "evaluate2": "retriever2", "rerank": "re-ranked", "evaluate_distilled": "distilled",
    "external": "", "glue": "",
}  # fmt: skip


def maker(**options) -> MakeReport:
    """The stage with one measure."""
    fixed = {"title": "x", "measures": ["RR@10"], "splits": ["test"], "shown_as": SHOWN_AS}
    fixed["collection"] = "msmarco"
    return MakeReport(**fixed | options)


def at(by_stage, place="msmarco/test"):
    """Printed values in one place."""
    return {place: by_stage}


def make_report(stages, **options):
    return maker(**options).collect(stages)


@pytest.fixture
def stages(tmp_path):
    """Finished stages as they lie in the store."""

    def finished(key, config, results, lines=()):
        directory = tmp_path / key
        directory.mkdir()
        (directory / "manifest.json").write_text(json.dumps({"config": config}))
        (directory / "metrics.json").write_text(json.dumps(results))
        if lines:
            (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return key, directory

    def judged(value):
        return {"test": {"mean": {"RR@10": value, "R@10": 0.9}, "queries": 20}}

    look = {
        "step": 1,
        "loss": 3.0,
        "loss/enhanced": 3.0,
        "gradient_share/enhanced": 1.0,
        "bottleneck/enhanced/true": 3.0,
    }
    return dict(
        [
            finished("bm25", {}, judged(0.1)),
            finished("evaluate@none", {}, judged(0.2)),
            finished("evaluate@retromae", {}, judged(0.3)),
            finished("pretrain@retromae", {"steps": 1, "diagnostics": {"every": 7}}, look, [look]),
        ]
    )


def test_published_values_stand_beside_the_arm_with_pre_training(stages):
    report = make_report(stages, paper_results=at({"evaluate": PAPER}), paper_source="Table 6")
    assert {arm.name: arm.paper for arm in report.arms} == {"bm25": None, "no pre-training": None, "retromae": PAPER}
    assert report.arms[2].paper_source == "Table 6"
    assert report.measures() == ["RR@10", "R@1000"]


def test_without_pre_training_they_stand_beside_the_only_arm(stages):
    only = {key: stages[key] for key in ("bm25", "evaluate@none")}
    report = make_report(only, paper_results=at({"evaluate": PAPER}))
    assert [arm.paper for arm in report.arms] == [None, PAPER]


def test_every_rung_has_published_values_of_its_own(stages, tmp_path):
    for rung, value in {"evaluate2": 0.4, "rerank": 0.5, "evaluate_distilled": 0.6}.items():
        directory = tmp_path / f"{rung}@retromae"
        directory.mkdir()
        (directory / "manifest.json").write_text('{"config": {}}')
        judged = {"test": {"mean": {"RR@10": value}, "queries": 20}}
        (directory / "metrics.json").write_text(json.dumps(judged))
        stages[directory.name] = directory
    directory = tmp_path / "report"
    directory.mkdir()
    context = Context("report", "", directory, stages, "group", tmp_path)
    printed = {"bm25": {"RR@10": 0.185}, "evaluate2": PAPER, "rerank": {"RR@10": 0.437}, "evaluate_distilled": {}}
    stage = maker(paper_results=at(printed), paper_source="Table 6, MS MARCO dev")
    stage.preflight([])
    stage.run(context)
    report = read_report(directory / "report.json")
    assert [(arm.name, arm.paper, arm.paper_source) for arm in report.arms] == [
        ("bm25", {"RR@10": 0.185}, "Table 6, MS MARCO dev"), ("no pre-training", None, ""), ("retromae", None, ""),
        ("retromae retriever2", PAPER, "Table 6, MS MARCO dev"),
        ("retromae re-ranked", {"RR@10": 0.437}, "Table 6, MS MARCO dev"), ("retromae distilled", None, ""),
    ]  # fmt: skip
    page = re.sub(r"<wbr>|\n", "", (directory / "report.html").read_text())
    assert re.findall(r"0\.\d+(?:</strong>)?<small>paper (0\.\d+)", page) == ["0.185", "0.355", "0.437"]
    for rung, value in {"retriever2": "0.355", "re-ranked": "0.437"}.items():
        assert re.search(rf"<tr><th[^>]*>(?:(?!</tr>).)*retromae {rung}(?:(?!</tr>).)*paper {value}", page)
    below = text(measures_table(report)).splitlines()
    values = {line.split("  ")[0]: after for line, after in itertools.pairwise(below) if after.startswith("  paper")}
    assert {name: line.split()[1] for name, line in values.items()} == {
        "bm25": "0.185", "retromae retriever2": "0.355", "retromae re-ranked": "0.437"
    }  # fmt: skip


def test_diagnoses_and_their_setting(stages):
    report = make_report(stages)
    assert [part.arm for part in report.diagnoses] == ["retromae"]
    assert report.settings["pretrain@retromae"] == "steps 1, diagnostics every 7"
    assert all(arm.paper is None for arm in report.arms)


def test_values_of_a_validation_are_a_figure_per_rung_and_measure(stages, tmp_path):
    for arm, values in {"none": [0.1, 0.2], "retromae": [0.3, 0.4]}.items():
        directory = tmp_path / f"retriever1@{arm}"
        directory.mkdir()
        (directory / "manifest.json").write_text('{"config": {}}')
        (directory / "metrics.json").write_text("{}")
        lines = [
            {"step": 1, "loss": 1.0},
            *({"step": 5 * i, "loss": 1.0, "validation/RR@10": values[i - 1]} for i in (1, 2)),
        ]
        (directory / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        stages[directory.name] = directory
    (curve,) = [c for c in make_report(stages).curves if c.title == "Validation (retriever1)"]
    assert curve.series == {"no pre-training": [(5, 0.1), (10, 0.2)], "retromae": [(5, 0.3), (10, 0.4)]}
    assert curve.y == "RR@10"


def test_the_stage_writes_them(stages, tmp_path):
    directory = tmp_path / "report"
    directory.mkdir()
    context = Context("report", "", directory, stages, "group", tmp_path)
    maker(paper_results=at({"evaluate": PAPER}), paper_source="Table 6, MS MARCO dev").run(context)
    assert read_report(directory / "report.json").arms[2].paper == PAPER
    page = (directory / "report.html").read_text()
    assert "paper 0.355" in page
    assert "Table 6, MS MARCO dev" in page
    assert "Diagnostics of pre-training" in page
    assert {path.name for path in (directory / "tables").iterdir()} == {
        f"{name}.{ending}" for name in ("measures", "diagnosis_retromae") for ending in ("md", "tex", "csv")
    }
    assert "retromae,0.3," in (directory / "tables" / "measures.csv").read_text()


def test_arms_are_tested_and_cases_shown(stages, tmp_path, monkeypatch):
    (tmp_path / "prepare").mkdir()
    (tmp_path / "prepare" / "manifest.json").write_text('{"config": {"corpus": {"path": "x"}}}')
    (tmp_path / "prepare" / "metrics.json").write_text("{}")
    (tmp_path / "prepare" / "corpus.json").write_text('{"passages": 3, "queries": 2, "title": "drop"}')
    for key, value in {"bm25": 0.0, "evaluate@none": 0.5, "evaluate@retromae": 1.0}.items():
        kept = {"RR@10": {f"q{i}": value * i / 8 for i in range(8)}}
        (stages[key] / "per_query.test.json").write_text(json.dumps(kept))
    asked = {}
    monkeypatch.setattr(
        "bmae_lightning.stage.report.find_cases",
        lambda prepared, arms, *rest: asked.update(arms=list(arms), rest=rest, at=prepared.directory) or [],
    )
    context = Context("report", "", tmp_path / "report", {"prepare": tmp_path / "prepare"} | stages, "g", tmp_path)
    context.directory.mkdir()
    maker(measures=["MRR@10"], significance=["MRR@10"], cases=4).run(context)
    report = read_report(context.directory / "report.json")
    assert [arm.measures for arm in report.arms] == [{"RR@10": 0.1}, {"RR@10": 0.2}, {"RR@10": 0.3}]
    assert report.reference == "no pre-training"
    assert [(row.arm, row.against, row.queries) for row in report.differences] == [
        ("bm25", "no pre-training", 8), ("retromae", "no pre-training", 8)
    ]  # fmt: skip
    (low, high) = report.arms[2].interval["RR@10"]
    assert 0 <= low < 7 / 16 < high <= 7 / 8
    assert report.arms[0].interval == {"RR@10": (0.0, 0.0)}
    of_all = maker(measures=["MRR@10"], reference="all").collect(stages)
    assert of_all.reference == ""
    assert [(row.arm, row.against) for row in of_all.differences] == [
        ("no pre-training", "bm25"), ("retromae", "bm25"), ("retromae", "no pre-training")
    ]  # fmt: skip
    unknown = maker(measures=["MRR@10"], reference="retromea").collect(stages)
    assert len(unknown.differences) == 3
    assert unknown.notes[-1].startswith("report.reference=retromea: no row is called so; did you mean 'retromae'")
    assert asked == {
        "arms": ["bm25", "no pre-training", "retromae"], "rest": ("test", "RR@10", 4), "at": tmp_path / "prepare"
    }  # fmt: skip
    with pytest.raises(ValueError, match="cases must be at least 0"):
        maker(cases=-1)


def test_every_split_has_a_table_tests_and_values_of_its_own(stages, tmp_path):
    for key, value in {"evaluate@none": 0.25, "evaluate@retromae": 0.5}.items():
        results = json.loads((stages[key] / "metrics.json").read_text())
        results["dl19"] = {"mean": {"nDCG@10": value, "R(rel=2)@100": value / 2}, "queries": 8}
        (stages[key] / "metrics.json").write_text(json.dumps(results))
        values = {f"q{i}": value * i / 8 for i in range(8)}
        for split, names in {"test": ["RR@10"], "dl19": ["nDCG@10", "R(rel=2)@100"]}.items():
            kept = json.dumps(dict.fromkeys(names, values))
            (stages[key] / f"per_query.{split}.json").write_text(kept)
    directory = tmp_path / "report"
    directory.mkdir()
    measures = ["RR@10", {"dl19": ["nDCG@10", "R(rel=2)@100"]}]
    printed = {"msmarco/test": {"evaluate": {"RR@10": 0.3553}}, "msmarco/dl19": {"evaluate": {"nDCG@10": 0.66}}}
    stage = maker(measures=measures, splits=["test", "dl19"], paper_results=printed)
    stage.preflight(["test", "dl19"])
    stage.run(Context("report", "", directory, stages, "group", tmp_path))
    report = read_report(directory / "report.json")
    assert report.tested == {"test": ["RR@10"], "dl19": ["nDCG@10"]}
    assert [(row.split, row.measure, row.difference) for row in report.differences] == [
        ("test", "RR@10", pytest.approx(0.109375)), ("dl19", "nDCG@10", pytest.approx(0.109375))
    ]  # fmt: skip
    assert [(arm.split, arm.paper) for arm in report.arms if arm.paper] == [
        ("test", {"RR@10": 0.3553}), ("dl19", {"nDCG@10": 0.66})
    ]  # fmt: skip
    first, second = measures_tables(report)
    assert (first.title, second.title) == ("x, test", "x, dl19")
    assert [column.name for column in second.columns] == ["arm", "nDCG@10", "R(rel=2)@100", "queries"]
    assert [second.cells(row) for row in range(3)] == [
        ["no pre-training", "0.250", "0.125", "8"], ["retromae", "0.500", "0.250", "8"], ["paper", "0.660", "-", ""]
    ]  # fmt: skip
    tables = directory / "tables"
    assert "retromae,0.5,0.25,8" in (tables / "measures_dl19.csv").read_text()
    assert (tables / "Differences_in_nDCG@10_dl19.csv").is_file()
    assert "R(rel=2)@100" not in (tables / "measures.csv").read_text()
    page = (directory / "report.html").read_text().replace("<wbr>", "")
    assert "x, dl19</h3>" in page
    assert "R(rel=2)@100" in page
    results = json.loads((directory / "metrics.json").read_text())
    assert results["retromae/RR@10"] == 0.3
    assert results["retromae/dl19/R(rel=2)@100"] == 0.25


def test_a_measure_is_tested_where_a_split_has_it(stages):
    measures = ["RR@10", "R@10", {"dl19": ["nDCG@10", "R(rel=2)@100"]}]
    asked = {"measures": measures, "splits": ["test", "dl19"]}
    report = make_report(stages, **asked, significance=["R(rel=2)@100", "R@10"])
    assert report.tested == {"test": ["R@10"]}, "no stage measured dl19"
    assert make_report(stages, **asked, significance=[]).tested == {"test": []}
    with pytest.raises(BadInput, match="unknown measure 'R2@10'"):
        maker(**asked, significance=["R2@10"]).preflight([])


def test_published_values_change_no_fingerprint_but_the_reports():
    conf = CONF

    def hashes(*overrides):
        with initialize_config_dir(str(conf), version_base="1.3"):
            config = compose("config", overrides=["+experiment=retromae", *overrides])
        nodes = plan(OmegaConf.to_container(config, resolve=True), "retromae", {})
        return {key: node.hash for key, node in nodes.items()}

    plain = hashes()
    published = hashes("paper_results={msmarco/dev: {evaluate: {RR@10: 0.3553}}}", "paper_source=Table 6")
    seldom = hashes("pretrain.diagnostics.every=0")
    assert {key for key in plain if plain[key] != published[key]} == {"report"}
    assert seldom == plain, "diagnostics do not change what is computed"


def test_tables_of_any_stage_are_shown_with_the_names_of_arms(stages, tmp_path):
    for key in ("mine@retromae", "mine@none", "other"):
        directory = tmp_path / key
        directory.mkdir()
        (directory / "manifest.json").write_text('{"config": {}}')
        (directory / "metrics.json").write_text("{}")
        name = "" if "@" in key else "total"
        write_tables(
            directory, [Table("Mine" if "@" in key else "Other", ["", Column("x", ".1f", True)], [[name, len(key)]])]
        )
        stages[key] = directory
    report = make_report(
        stages, shown_as=SHOWN_AS | {"mine": ""}, paper_results=at({"mine": {"x": 0.5}}), paper_source="T"
    )
    (mine,), (other,) = report.tables["mine"], report.tables["other"]
    assert mine.rows == (("no pre-training", 9), ("retromae", 13), ("paper", 0.5))
    assert mine.notes == ("Paper: T.",)
    assert other.rows == (("total", 5),)
    assert report.names == {"mine@none": "no pre-training", "mine@retromae": "retromae"}
