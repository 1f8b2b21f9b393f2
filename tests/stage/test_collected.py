"""What a report takes from the directories of finished stages."""

import json

import pytest

from bmae_lightning.report.content import Sample
from bmae_lightning.runtime.table import PAPER, Column, Table, write_tables
from bmae_lightning.stage.collected import Collected, read_node


@pytest.fixture
def collect(tmp_path):
    """Collects nodes, made of their key and (options, results, files of JSON or JSON lines, tables)."""

    def make(nodes, shown_as=None, paper=None):
        shown = {"test": ["RR@10"], "dl19": ["nDCG@10", "R(rel=2)@5"]}
        found = Collected(shown, paper or {}, "Table 6", "nq")
        for key, (config, results, files, tables) in nodes.items():
            directory = tmp_path / key
            directory.mkdir(exist_ok=True)
            written = {"metrics.json": results} | files
            for name, content in written.items():
                lines = content if name.endswith(".jsonl") else [content]
                (directory / name).parent.mkdir(parents=True, exist_ok=True)
                (directory / name).write_text("".join(json.dumps(line) + "\n" for line in lines))
            manifest = {"config": config, "context": {"pretrain_step": 1000 if "@late" in key else None}}
            (directory / "manifest.json").write_text(json.dumps(manifest))
            if tables:
                write_tables(directory, tables)
            found.add(read_node(key, directory, shown_as or {"evaluate": "", "rerank": "re-ranked", "bm25": "bm25"}))
        return found

    return make


def measured(value, **more):
    return {}, {"test": {"mean": {"RR@10": value, "R@5": 0.9}, "queries": 20}} | more, {}, []


def test_rows_their_order_and_notes(collect):
    found = collect(
        {
            "evaluate@retromae": measured(0.3, passages_per_second=1234.5),
            "rerank@retromae": measured(0.4, pairs_per_second=99.6, depth=50),
            "evaluate@none": measured(0.2),
            "bm25": measured(0.1),
            "external@DIR": measured(0.5, model={"name": "DIR", "similarity": "cos", "layout": None}),
            "pretrain@retromae": ({}, {"test": 3}, {}, []),
        },
        paper={"nq/test": {"rerank": {"RR@10": 0.437}, "external": {"RR@10": 0.9}}},
    )
    assert [(arm.name, arm.measures, arm.note, arm.paper, arm.node) for arm in found.all_arms()] == [
        ("bm25", {"RR@10": 0.1}, "Lucene's idf", None, "bm25"),
        ("no pre-training", {"RR@10": 0.2}, "", None, "evaluate@none"),
        ("retromae", {"RR@10": 0.3}, "encodes 1,234 passages/s", None, "evaluate@retromae"),
        (
            "retromae re-ranked",
            {"RR@10": 0.4},
            "re-orders the top 50, 100 pairs/s",
            {"RR@10": 0.437},
            "rerank@retromae",
        ),
        ("DIR", {"RR@10": 0.5}, "", None, "external@DIR"),
    ]
    assert found.settings["external@DIR"] == "name DIR, similarity cos"


def test_every_split_has_rows_of_its_own_measures(collect):
    def measured_twice(value):
        graded = {"mean": {"R(rel=2)@5": value / 2, "nDCG@10": value, "RR@10": 0.9}, "queries": 43}
        return measured(value, dl19=graded, train={"mean": {"RR@10": 1.0}, "queries": 9})

    found = collect(
        {"evaluate@retromae": measured_twice(0.4), "evaluate@none": measured_twice(0.2), "bm25": measured(0.1)},
        paper={"nq/test": {"evaluate": {"RR@10": 0.437}}},
    )
    assert [(arm.split, arm.name, arm.measures, arm.queries, arm.paper) for arm in found.all_arms()] == [
        ("test", "bm25", {"RR@10": 0.1}, 20, None),
        ("test", "no pre-training", {"RR@10": 0.2}, 20, None),
        ("test", "retromae", {"RR@10": 0.4}, 20, {"RR@10": 0.437}),
        ("dl19", "no pre-training", {"nDCG@10": 0.2, "R(rel=2)@5": 0.1}, 43, None),
        ("dl19", "retromae", {"nDCG@10": 0.4, "R(rel=2)@5": 0.2}, 43, None),
    ]
    assert list(found.all_arms()[-1].measures) == ["nDCG@10", "R(rel=2)@5"], "in the order of the option"


def test_losses_validations_and_settings_of_stages_that_train(collect):
    lines = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": 1.0, "validation/RR@10": 0.5}]
    config = {"batch_size": 8, "lr": 1e-4, "steps": None, "train_queries": {"share": 0.05}, "seed": 3}
    found = collect(
        {
            "pretrain@a": (
                {"steps": 2},
                {"unmaskable": {"view.passage.mask": 1234}},
                {"metrics.jsonl": [{"step": 1, "loss": 3.0, "loss/mlm": 3.0}]},
                [],
            ),
            "retriever1@late": (config, {}, {"metrics.jsonl": lines}, []),
        }
    )
    assert {curve.title: curve.series for curve in found.all_curves()} == {
        "Pre-training (a)": {"mlm": [(1, 3.0)]},
        "Fine-tuning (retriever1)": {"late": [(1, 2.0), (2, 1.0)]},
        "Validation (retriever1)": {"late": [(2, 0.5)]},
    }
    assert found.settings == {
        "pretrain@a": "steps 2, view.passage.mask can select nothing of 1,234 passages",
        "retriever1@late": "batch_size 8, lr 0.0001, 5 % of the training queries, from step 1,000 of the pre-training",
    }
    assert found.diagnoses == []


def test_corpus_generated_texts_and_samples(collect):
    results = {"teachers": {"queries": "docT5query"}, "queries": 1200, "passages_with_continuation": 7}
    example = {"_id": "p1", "queries": ["who", "what"], "continuation": None, "passage": "x" * 200}
    record = {"name": "beir", "passages": 3000, "queries": 20, "title": "drop"}
    sample = {"original": "a b", "masked": "a [MASK]", "rebuilt": {"enhanced": "a c"}}
    found = collect(
        {
            "prepare": ({"corpus": {"path": "DIR"}}, {}, {"corpus.json": record}, []),
            "generate": (
                {}, results,
                {"examples.json": [example], "teachers/queries/metrics.jsonl": [{"step": 1, "loss": 4.0}]}, [],
            ),
            "pretrain@a": ({}, {}, {"samples.json": [sample]}, []),
        }
    )  # fmt: skip
    assert found.settings == {
        "corpus": "DIR: 3,000 passages (titles: drop), 20 queries",
        "generate": "queries by docT5query (1,200 queries, 7 continuations)",
        "generated for p1": "x" * 160 + " -> who | what | … ",
    }
    assert [curve.series for curve in found.all_curves()] == [{"queries": [(1, 4.0)]}]
    assert found.samples == [Sample(**sample)]
    assert found.notes == [], "without printed values nothing is compared"


def test_passages_without_titles_are_told_where_papers_have_them(collect):
    for title, told in (("drop", True), ("pair", False)):
        record = {"name": f"{title}", "passages": 3000, "queries": 20, "title": title}
        prepared = {"corpus": {"path": "DIR"}}, {}, {"corpus.json": record}, []
        found = collect({"prepare": prepared}, paper={"nq/test": {"evaluate": {"RR@10": 0.4}}})
        assert [note.startswith("These passages have no titles") for note in found.notes] == [True] * told


def test_tables_of_arms_are_one_and_others_stay(collect):
    def left(name, value):
        return {}, {}, {}, [Table("T", ["", Column("x", ".1f", True)], [[name, value]])]

    found = collect(
        {"mine@a": left("", 0.5), "mine@none": left("", 0.7), "other": left("all", 1.0)},
        {"mine": ""},
        {"any/x": {"mine": {"x": 0.6}}},
    )
    tables = found.all_tables()
    assert {stage: [table.rows for table in of] for stage, of in tables.items()} == {
        "mine": [(("no pre-training", 0.7), ("a", 0.5), ("paper", 0.6))], "other": [(("all", 1.0),)],
    }  # fmt: skip
    assert [(arm.name, arm.measures, arm.node, len(arm.origins)) for arm in found.behind()] == [
        ("a (mine)", {}, "mine@a", 1), ("no pre-training (mine)", {}, "mine@none", 1), ("other", {}, "other", 1),
    ]  # fmt: skip
    assert tables["mine"][0].marked(PAPER) == [2]
    assert found.names == {"mine@none": "no pre-training", "mine@a": "a"}


def test_values_of_another_place_stand_in_a_table_of_their_own(collect):
    shown_as = {"bm25": "bm25", "evaluate": "", "evaluate2": "retriever2", "glue": ""}
    glue = {}, {}, {}, [Table("GLUE", ["", Column("Matthews", ".3f", True, "CoLA")], [["", 0.5]])]
    paper = {
        "msmarco/dev": {"evaluate": {"RR@10": 0.383}, "evaluate2": {"RR@10": 0.404}},
        "nq/dev": {"evaluate": {"answer_R@20": 0.8}},
        "nq/test": {
            "evaluate": {"answer_R@20": 0.84},
            "evaluate2": {"answer_R@20": 0.85},
            "bm25": {"answer_R@20": 0.6},
        },
        "glue/dev": {"glue": {"CoLA": 0.6}},
        "beir/test": {"glue": {"NQ": 0.4}},
    }
    found = collect({"evaluate@a": measured(0.2), "evaluate@none": measured(0.1), "glue@a": glue}, shown_as, paper)
    assert {arm.name: arm.paper for arm in found.all_arms()} == {"a": {"answer_R@20": 0.84}, "no pre-training": None}
    assert found.all_tables()["glue"][0].rows == (("a", 0.5), ("paper", 0.6))
    (table,) = found.as_printed(shown_as)["paper"]
    assert table.title == "As printed: Table 6"
    assert [column.key for column in table.columns][1:] == [
        "MS MARCO dev/RR@10", "NQ dev/answer_R@20", "NQ test/answer_R@20", "BEIR/NQ"
    ]  # fmt: skip
    assert table.rows == (
        ("a", 0.383, 0.8, "", 0.4), ("a retriever2", 0.404, "", 0.85, ""), ("bm25", "", "", 0.6, ""),
    )  # fmt: skip
    assert table.notes[0].endswith("this run, which is of nq (test, dl19).")
