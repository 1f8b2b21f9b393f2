"""Tables of the papers from the command to the page: one each of BEIR, Natural Questions and TREC DL; all are slow."""

import json
import shutil
from collections.abc import Iterator

import pytest
from support.beir_files import write_suite
from support.dpr_files import write_dpr
from support.glue_files import write_glue
from support.msmarco_files import write_documents
from support.tables import TABLES, Command, chosen, places, read, repeated, row, rows_of

from bmae_lightning.report.content import read_report
from bmae_lightning.runtime.table import PAPER, REFERENCE

TINY = [
    "scale=laptop", "encoder=tiny", "pretrain.steps=2", "pretrain.batch_size=4", "masked_lm.steps=1",
    "retriever1.steps=2", "retriever1.batch_size=2", "retriever1.passage_length=32", "retriever1.train_group_size=2",
    "reranker.steps=2", "reranker.batch_size=2", "reranker.train_group_size=2", "reranker.length=32",
    "distilled.train_group_size=2", "distilled.negatives.depth=3", "rerank.depth=3", "generate.shard=64",
]  # fmt: skip


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> dict[str, list[str]]:
    """Where the collections lie, in the formats that they are published in: what rows of each have to be told."""
    root = tmp_path_factory.mktemp("published")
    msmarco, nq = write_documents(root / "msmarco"), write_dpr(root / "nq")
    shutil.copy(msmarco / "msmarco-test2019-queries.tsv.gz", msmarco / "msmarco-test2020-queries.tsv.gz")
    shutil.copy(msmarco / "2019qrels-pass.txt", msmarco / "2020qrels-pass.txt")
    suite, glue = write_suite(root / "beir"), write_glue(root / "glue")
    order = "collections.neighbours=collection_order"  # no file tells of MS MARCO which document a passage is of
    both = [order, f"collections.msmarco={msmarco}", f"collections.nq={nq}"]
    return {
        "msmarco": both, "nq": both, "beir": [*both, f"suite.path={suite}"],
        "glue": [*both, f"glue.path={glue}", "glue.lr=[5e-5]", "glue.batch_size=8"],
    }  # fmt: skip


def run(start: Command, table: str, rows: list[str], given: dict[str, list[str]], *options: str) -> None:
    """A table's rows on the collections that it has columns of."""
    folder = rows[0].split("/")[0]
    names = ",".join(name.split("/")[1] for name in rows)
    pinned = any(chosen(name, "corpus") for name in rows)
    found = sorted({place for name in rows for place in places(name)}) or ["msmarco"]
    corpora = [place for place in found if place in ("msmarco", "nq")] or ["msmarco"]
    corpus = [] if pinned else [f"corpus={','.join(corpora)}"]
    general = ["corpus@general.corpus=nq"] if any(chosen(n, "general") == "only" for n in rows) and not pinned else []
    start(f"+table={table}", f"+{folder}={names}", *corpus, *general, *given[found[0]], *TINY, *options)
    assert start.codes == [0] * len(rows) * repeated(table) * (1 if pinned else len(corpora))


def labelled(rows: list[str]) -> Iterator[tuple[str, str, str]]:
    """(row, stage, label), the stage empty where the row is one of the paper's."""
    for name in rows:
        label = row(name)["paper_row"]["label"]
        yield from ((name, *pair) for pair in (label.items() if isinstance(label, dict) else [("", label)]))


def printed_for(name: str, stage: str, column: str) -> float | None:
    """The printed value of a row in a column, collection/split/stage/measure with or without the stage."""
    stages = row(name).get("paper_results", {}).get("/".join(column.split("/")[:2]), {})
    wanted = {*column.split("/")[2:-1], stage} - {""}
    return next(
        (v[column.split("/")[-1]] for at, v in stages.items() if not wanted - {at} and column.split("/")[-1] in v), None
    )


def check_page(start: Command, table: str, rows: list[str]) -> None:
    """Every printed column stands on the page, with ours above what the paper prints, in the paper's digits."""
    (path,) = start.directory.glob("outputs/multirun/*/report.html")
    page, (found,) = path.read_text(encoding="utf-8"), read_report(path.with_suffix(".json")).printed
    about = read(f"table/{table}")["paper_table"]
    assert found.title.startswith(about["title"])
    assert found.title in page
    assert len(found.columns) == 2 + len(about["columns"])
    assert found.columns[-1].name == "verdict"
    lines = [found.cells(i) for i in range(len(found.rows))]
    shown = {line[0].splitlines()[0]: (line, below) for line, below in zip(lines, [*lines[1:], []], strict=True)}
    factor = {"percent": 100, "fraction": 1}[about["unit"]]
    for name, stage, label in labelled(rows):
        (ours, printed), digits = shown[label], row(name)["paper_row"].get("digits", about["digits"])
        assert printed[:1] == [PAPER] or "paper_results" not in row(name)
        for i, column in enumerate(about["columns"], 1):
            if (value := printed_for(name, stage, column)) is not None:
                assert printed[i] == f"{factor * value:.{digits}f}"
                assert printed[i] in page
                assert abs(float(ours[i])) <= factor, (name, column)
    references = [line[0] for i, line in enumerate(lines) if i in found.marked(REFERENCE)]
    assert references == [f"{reference['label']} (reference)" for reference in about.get("references", [])]


@pytest.mark.parametrize(
    ("table", "names"),
    [
        ("cdmae_3", ["t3_bm25", "t3_condenser"]),
        ("simlm_10", ["t10_none", "t10_nq_none"]),
        ("cdmae_4", ["t4_without_projection", "t4_with_projection"]),
    ],
    ids=["beir", "nq", "dl"],
)
def test_a_table_goes_to_its_page(table, names, given, tmp_path, monkeypatch):
    start, rows = Command(monkeypatch, tmp_path), [f"{table.split('_')[0]}/{name}" for name in names]
    run(start, table, rows, given, *([] if table == "cdmae_4" else ["logger=none"]))
    check_page(start, table, rows)
    manifests = tmp_path.glob("outputs/store/*/manifest.json")
    assert {json.loads(path.read_text())["context"].get("group", table) for path in manifests} == {table}
    if table == "cdmae_4":
        runs = list(tmp_path.glob("outputs/wandb/offline-run-*/run-*.wandb"))
        assert len(runs) >= 6
        assert all(table.encode() in run.read_bytes() for run in runs), "one W&B group"


@pytest.mark.slow
@pytest.mark.parametrize("table", TABLES)
def test_a_whole_table_goes_to_its_page(table, given, tmp_path, monkeypatch):
    start, rows = Command(monkeypatch, tmp_path), rows_of(table)
    run(start, table, rows, given, "logger=none")
    if "paper_table" in read(f"table/{table}"):
        check_page(start, table, rows)
