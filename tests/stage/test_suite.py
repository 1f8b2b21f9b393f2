"""The suite: BEIR's rules, pairs that are finished by themselves, what stays and what is freed."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from support import foreign_models as tools
from support.paths import SHARED
from transformers import AutoModel, AutoTokenizer

from bmae_lightning.evaluation.measure.ranking import evaluate
from bmae_lightning.evaluation.measure.trec import read_run
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import BadInput, Interrupted
from bmae_lightning.runtime.stage import Context
from bmae_lightning.runtime.table import BEST_OF_ROW, SUMMARY, read_tables, text
from bmae_lightning.stage import zero_shot


def write_collection(directory: Path, count: int, queries: int, seed: int, own: bool = False) -> Path:
    """A query is three words of its passage; `own`: it is a passage itself, and the relevant one is another."""
    passages = tools.texts(count, seed)
    asked = {
        f"d{i}" if own else f"q{i}": passages[i] if own else " ".join(passages[i].split()[:3]) for i in range(queries)
    }
    (directory / "qrels").mkdir(parents=True)
    lines = [json.dumps({"_id": f"d{i}", "title": "w0", "text": text}) for i, text in enumerate(passages)]
    (directory / "corpus.jsonl").write_text("\n".join(lines) + "\n")
    lines = [json.dumps({"_id": id, "text": text}) for id, text in asked.items()]
    (directory / "queries.jsonl").write_text("\n".join(lines) + "\n")
    lines = [f"{id}\td{(i + own) % count}\t1" for i, id in enumerate(asked)]
    (directory / "qrels" / "test.tsv").write_text("query-id\tcorpus-id\tscore\n" + "\n".join(lines) + "\n")
    return directory


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("beir")
    write_collection(root / "plain", 20, 6, 1)
    write_collection(root / "arguments", 15, 15, 2, own=True)
    write_collection(root / "forums" / "a", 12, 3, 3)
    write_collection(root / "forums" / "b", 12, 9, 4)
    tools.write_bert(root / "models" / "first")
    tools.write_bert(root / "models" / "second", seed=1)
    return root


def config(root, **options):
    trainer = {"_target_": "pytorch_lightning.Trainer", "_partial_": True, "accelerator": "cpu", "devices": 1}
    return {
        "_target_": "bmae_lightning.stage.suite.Suite", "collections": ["plain", "arguments", "forums"],
        "models": ["bm25", str(root / "models" / "first")], "also": [], "path": str(root),
        "sets": {"three": {"arguments": "Arguments", "forums": "Forums", "gone": "Gone"}},
        "parts": {"forums": ["a", "b"]}, "split": "test", "titles": "prepend", "identical_ids": "remove",
        "query_length": None, "passage_length": None, "bm25": {"_target_": "bmae_lightning.retrieval.index.bm25.Bm25"},
        "index": {"_target_": "bmae_lightning.retrieval.index.exact.ExactIndex"}, "measures": ["nDCG@10", "R@100"],
        "depth": 1000, "batch_tokens": 256, "shard": 8, "processes": trainer,
        "logger": {"_target_": "bmae_lightning.report.tracking.loggers.NoTracking"}, **options,
    }  # fmt: skip


def suite(root, **options):
    return build(config(root, **options), "suite")


def run(root, output_dir, name="suite", **options):
    settings = config(root, **options)
    stage = build(settings, "suite")
    stage.name = "suite"
    stage.preflight([])
    directory = output_dir / "store" / name
    directory.mkdir(parents=True, exist_ok=True)
    stage.run(Context("suite", "", directory, {}, "group", output_dir, settings))
    return read_tables(directory)


def collections(table):
    return table.rows[: table.marked(SUMMARY)[0]]


def means(table):
    return table.rows[table.marked(SUMMARY)[0] :]


def measure_of(table):
    return table.title.removeprefix("Zero-shot ")


@pytest.fixture(scope="module")
def finished(root, tmp_path_factory):
    output_dir = tmp_path_factory.mktemp("finished")
    return output_dir, run(root, output_dir)


def pairs(output_dir):
    """(collection, model) -> directory."""
    manifests = (output_dir / "store").glob("zero_shot-*/manifest.json")
    return {tuple(json.loads(path.read_text())["context"]["arm"].split(", ")): path.parent for path in manifests}


def files(output_dir):
    return {path: path.stat().st_mtime_ns for path in (output_dir / "store").glob("zero_shot-*/run.trec.gz")}


def test_every_pair_leaves_run_and_measures_and_nothing_else(finished):
    output_dir, _ = finished
    found = pairs(output_dir)
    names = ["plain", "Arguments", "Forums/a", "Forums/b"]
    assert found.keys() == {(name, model) for name in names for model in ("bm25", "models/first")}
    for directory in found.values():
        left = {path.name for path in directory.iterdir()}
        ours = {"run.trec.gz", "scores.parquet", "ranked.json", "per_query.json", "metrics.json"}
        assert left == ours | {"manifest.json", "done", "lock", "record.json"}
    assert not (output_dir / "store" / "suite" / "tokens").exists()


def test_the_rows_are_measures_of_the_runs_and_parts_count_once(finished, root):
    output_dir, tables = finished
    found, own = pairs(output_dir), {}
    for (name, model), directory in found.items():
        lines = (root / name.lower() / "qrels" / "test.tsv").read_text().splitlines()[1:]
        qrels = {line.split("\t")[0]: {line.split("\t")[1]: 1} for line in lines}
        measured = evaluate(qrels, read_run(directory / "run.trec.gz"), ["nDCG@10", "R@100"])
        own[name, model] = measured.mean
        assert json.loads((directory / "per_query.json").read_text()) == measured.per_query
    for table in tables:
        rows, (mean,) = collections(table), means(table)
        assert [row[0] for row in rows] == ["Arguments", "Forums", "plain"]
        assert [row[-1] for row in rows] == [15, 12, 6]
        assert table.notes == ("Forums: unweighted mean of 2 collections.",)
        for i, model in enumerate((column.name for column in table.columns[1:-1]), 1):
            value = {name: own[name, model][measure_of(table)] for name, other in own if other == model}
            forums = (value["Forums/a"] + value["Forums/b"]) / 2
            assert [row[i] for row in rows] == pytest.approx([value["Arguments"], forums, value["plain"]])
            assert mean[i] == pytest.approx((value["Arguments"] + forums + value["plain"]) / 3)
        assert mean[0] == "average of 3"
    assert {path.name for path in (output_dir / "store" / "suite").iterdir()} == {
        "tables", "tables.json", "suite.html", "metrics.json",
    }  # fmt: skip


def test_a_result_with_the_id_of_its_query_is_removed(finished, root, tmp_path):
    output_dir, tables = finished
    for model in ("bm25", "models/first"):
        ranking = read_run(pairs(output_dir)["Arguments", model] / "run.trec.gz")
        assert not any(query in ranking.passages(query) for query in ranking)
    alone = {"collections": ["arguments"], "models": ["bm25"]}
    (kept, _) = run(root, tmp_path, **alone, identical_ids="keep")
    ranking = read_run(pairs(tmp_path)["Arguments", "bm25"] / "run.trec.gz")
    assert all(query in ranking.passages(query) for query in ranking)
    assert tables[0].rows[0][1] > kept.rows[0][1]
    run(root, tmp_path / "shallow", **alone, depth=4)
    ranking = read_run(pairs(tmp_path / "shallow")["Arguments", "bm25"] / "run.trec.gz")
    assert {len(ranking[query]) for query in ranking} == {4}, "the depth is that of what is left"


def test_the_best_of_a_row_is_marked_and_the_page_and_the_files_say_the_same(finished):
    output_dir, (table, _) = finished
    assert set(table.emphasis().values()) <= {BEST_OF_ROW}
    for row in range(len(table.rows)):
        shown = table.cells(row)[1:-1]
        assert [(row, i) in table.emphasis() for i in (1, 2)] == [v == max(shown) != min(shown) for v in shown]
    lines = [line.split() for line in text(table).splitlines()]
    assert lines[1] == ["collection", "bm25", "models/first", "queries"]
    assert lines[3][0] == "Arguments"
    assert lines[6][0].startswith("---")
    assert lines[7][:3] == ["average", "of", "3"]
    page = (output_dir / "store" / "suite" / "suite.html").read_text()
    assert 'id="curves"' not in page, "a suite by itself has nothing else to show"
    assert "Forums: unweighted mean of 2 collections." in page
    written = (output_dir / "store" / "suite" / "tables" / "suite_Zero-shot_nDCG@10.csv").read_text().splitlines()
    assert written[0] == "collection,bm25,models/first,queries"
    assert written[1] == f"Arguments,{table.rows[0][1]},{table.rows[0][2]},15"


def test_relevant_passages_that_are_removed_are_told(root, tmp_path):
    directory = write_collection(tmp_path / "same", 6, 6, 5, own=True)
    (directory / "qrels" / "test.tsv").write_text("".join(f"d{i}\td{i}\t1\n" for i in range(6)))
    (table, _) = run(root, tmp_path, collections=[str(directory)], models=["bm25"])
    assert table.rows[0][1:-1] == (0.0,)
    assert "for 6 queries a relevant passage has the query's id" in table.notes[0]


def test_a_checkpoint_ranks_by_its_own_vectors(finished, root):
    output_dir, _ = finished
    ranking = read_run(pairs(output_dir)["plain", "models/first"] / "run.trec.gz")
    directory = root / "models" / "first"
    model, tokenizer = AutoModel.from_pretrained(directory).eval(), AutoTokenizer.from_pretrained(directory)

    def vectors(texts):
        with torch.inference_mode():
            batches = [tokenizer(text, truncation=True, max_length=24, return_tensors="pt") for text in texts]
            return np.stack([model(**batch).last_hidden_state[0, 0].numpy() for batch in batches])

    asked = [json.loads(line) for line in (root / "plain" / "queries.jsonl").read_text().splitlines()]
    passages = vectors([f"w0 {text}" for text in tools.texts(20, 1)])
    for query, vector in zip(asked, vectors([query["text"] for query in asked]), strict=True):
        order = np.argsort(-(passages @ vector), kind="stable")
        assert ranking.passages(query["_id"]) == [f"d{row}" for row in order]


def test_a_killed_suite_continues_to_the_same_table(finished, root, tmp_path, monkeypatch, capsys):
    ranked = []
    original = zero_shot.make_ranker

    def dies(title, *arguments):
        ranked.append(title)
        ranker = original(title, *arguments)
        if len(ranked) == 4:  # a checkpoint's: its vectors are on disk, the search has not begun

            def stop(*_):
                raise Interrupted("killed")

            ranker._search = stop
        return ranker

    monkeypatch.setattr(zero_shot, "make_ranker", dies)
    with pytest.raises(Interrupted):
        run(root, tmp_path)
    done = files(tmp_path)
    assert len(done) == 3
    monkeypatch.setattr(zero_shot, "make_ranker", lambda title, *rest: ranked.append(title) or original(title, *rest))
    capsys.readouterr()
    tables = run(root, tmp_path)
    assert capsys.readouterr().out.count("skipped, done in") == 3
    assert len(ranked) == 4 + 5
    assert ranked[3] == ranked[4], "the interrupted one begins again"
    assert {path: time for path, time in files(tmp_path).items() if path in done} == done
    assert tables == finished[1]
    assert not [*tmp_path.rglob("passages.*"), *tmp_path.rglob("tokens")]


def test_the_list_may_grow(root, tmp_path, monkeypatch):
    ranked = []
    original = zero_shot.make_ranker
    monkeypatch.setattr(zero_shot, "make_ranker", lambda title, *rest: ranked.append(title) or original(title, *rest))
    few = {"collections": ["plain"], "models": ["bm25"], "measures": ["nDCG@10"]}
    run(root, tmp_path, **few)
    (table,) = run(root, tmp_path, "other", **few | {"measures": ["MRR@10"]})
    assert measure_of(table) == "RR@10"
    assert len(ranked) == 1, "a further measure is computed from the run"
    more = {"collections": ["plain", "three"], "models": ["bm25", str(root / "models" / "second")]}
    (table,) = run(root, tmp_path, "third", **few | more)
    assert len(ranked) == 1 + 7
    assert [row[0] for row in collections(table)] == ["Arguments", "Forums", "plain"]
    assert [mean[0] for mean in means(table)] == ["average of 2 (of 3, three)"]
    assert "three without Gone." in table.notes
    run(root, tmp_path, "fourth", **few | {"bm25": {"_target_": "bmae_lightning.retrieval.index.bm25.Bm25", "k1": 1.2}})
    assert len(ranked) == 1 + 7 + 1, "other settings of BM25 are another model"


def test_identity_changes_with_what_is_read(root, tmp_path):
    write_collection(tmp_path / "one", 5, 2, 8)
    given = {"collections": [str(tmp_path / "one")], "models": [str(root / "models" / "first")]}
    before = suite(root, **given).identity()
    assert before == suite(root, **given).identity()
    with (tmp_path / "one" / "qrels" / "test.tsv").open("a") as file:
        file.write("q1\td4\t1\n")
    assert before != suite(root, **given).identity()


def test_mistakes_are_one_line(root, tmp_path):
    with pytest.raises(BadInput, match="suite: collections is empty"):
        suite(root, collections=[])
    with pytest.raises(BadInput, match="suite: identical_ids must be one of remove, keep"):
        suite(root, identical_ids="drop")
    with pytest.raises(BadInput, match="suite.models is empty"):
        run(root, tmp_path, models=[])
    with pytest.raises(BadInput, match=r"suite.models\[0\]: no model configuration in"):
        run(root, tmp_path, models=[str(root / "plain")])
    with pytest.raises(BadInput, match="split 'dev' is not in"):
        run(root, tmp_path, split="dev")
    directory = write_collection(tmp_path / "broken", 5, 2, 8)
    with (directory / "qrels" / "test.tsv").open("a") as file:
        file.write("q7\td4\t1\n")
    with pytest.raises(BadInput, match="broken: query 'q7' is judged but not among the queries"):
        run(root, tmp_path, collections=[str(directory)], models=["bm25"])


def test_bm25_on_published_settings(tmp_path):
    """README of the collection: bm25s, lucene, k1=0.9, b=0.4, English stop words, Snowball stemmer, title + text."""
    directory = SHARED / "data" / "squad-small"
    if not directory.is_dir():
        pytest.skip(f"{directory} is not there; its README holds the values that are compared with")
    bm25 = {
        "_target_": "bmae_lightning.retrieval.index.bm25.Bm25",
        "k1": 0.9,
        "b": 0.4,
        "stemmer": "english",
        "stopwords": "en",
    }
    tables = run(tmp_path, tmp_path, collections=[str(directory)], models=["bm25"], bm25=bm25)
    assert [table.rows[0][1] for table in tables] == pytest.approx([0.9280, 1.0000], abs=0.005)
