"""Tables of the papers from the command to the page: one each of BEIR, Natural Questions and TREC DL, all of them slow."""

import csv
import json

import pytest
from support import command as tools
from support.beir_files import write_suite
from support.dpr_files import write_dpr
from support.glue_files import write_glue
from support.msmarco_files import write_msmarco
from support.tables import ENTRIES, TABLES, Command, places, read, row, rows_of, runnable

TINY = [
    "scale=laptop", "encoder=tiny", "pretrain.steps=2", "pretrain.batch_size=4", "masked_lm.steps=1",
    "retriever1.steps=2", "retriever1.batch_size=4", "retriever1.passage_length=32", "reranker.steps=2",
    "reranker.batch_size=4", "reranker.length=32", "distilled.negatives.depth=3", "rerank.depth=3", "glue.lr=[5e-5]",
    "glue.batch_size=8", "generate.shard=64", "logger=none",
]  # fmt: skip


@pytest.fixture(scope="module")
def given(tmp_path_factory) -> list[str]:
    """Where the collections lie, in the formats that they are published in."""
    root = tmp_path_factory.mktemp("published")
    msmarco, nq = write_msmarco(root / "msmarco"), write_dpr(root / "nq")
    suite, glue = write_suite(root / "beir", "beir18"), write_glue(root / "glue")
    return [f"collections.msmarco={msmarco}", f"collections.nq={nq}", f"suite.path={suite}", f"glue.path={glue}"]


def written(directory) -> list[list[str]]:
    """The paper's table of the one sweep in a directory, as the file that lies beside its page."""
    (page,) = directory.glob("outputs/multirun/*/report.html")
    text = page.read_text(encoding="utf-8")
    title = next(
        table["title"]
        for table in (read(f"table/{name}").get("paper_table") for name in TABLES)
        if table and table["title"] in text
    )
    (file,) = (page.parent / "tables").glob(f"*{title.replace(' ', '_')}.csv")
    return list(csv.reader(file.open(encoding="utf-8")))
