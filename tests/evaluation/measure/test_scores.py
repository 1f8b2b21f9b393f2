"""The scores beside a TREC file: what Arrow reads is what the ranker said, and both files come or neither does."""

import math

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bmae_lightning.evaluation.measure.run_files import open_run
from bmae_lightning.evaluation.measure.scores import scores_path, write_scored
from bmae_lightning.evaluation.measure.trec import Run, read_run
from bmae_lightning.runtime.errors import BadInput

RANKINGS = {"q2": [("d9", 0.1), ("d10", 0.1), ("d5", -7.25)], "none": [], "q1": [("d5", 2.0), ("d9", -math.inf)]}
COLUMNS = ["qid", "docid", "rank", "score"]


def written(path):
    write_scored(path, Run(RANKINGS), "t")
    return scores_path(path)


def test_the_names_of_both_files(tmp_path):
    assert scores_path(tmp_path / "run.test.trec") == tmp_path / "scores.test.parquet"
    assert scores_path(tmp_path / "run.trec.gz") == tmp_path / "scores.parquet"
    assert written(tmp_path / "run.dev.trec").is_file()
    assert {path.name for path in tmp_path.iterdir()} == {"run.dev.trec", "scores.dev.parquet"}


def test_arrow_reads_the_scores_that_were_given(tmp_path):
    table = pq.read_table(path := written(tmp_path / "run.test.trec"))
    assert table.column_names == COLUMNS
    assert table.schema.types == [pa.string(), pa.string(), pa.int32(), pa.float32()]
    assert table.to_pylist() == [
        {"qid": query, "docid": passage, "rank": place + 1, "score": None if math.isinf(score) else np.float32(score)}
        for query, ranking in RANKINGS.items()
        for place, (passage, score) in enumerate(ranking)
    ]
    assert pq.ParquetFile(path).metadata.row_group(0).column(0).compression == "ZSTD"


def test_the_run_is_the_same_in_both_files(tmp_path):
    scored, ranked = open_run(written(tmp_path / "run.test.trec")), read_run(tmp_path / "run.test.trec")
    assert {query: scored.passages(query) for query in scored} == {query: ranked.passages(query) for query in ranked}
    assert scored["q1"] == [("d5", 2.0), ("d9", -math.inf)]


def test_both_files_come_or_neither(tmp_path, monkeypatch):
    for rankings in ({"two words": [("a", 1.0)]}, {"q": [("a b", 1.0)]}):
        with pytest.raises(BadInput, match="white space"):
            write_scored(tmp_path / "run.test.trec", Run(rankings), "t")
        assert not list(tmp_path.iterdir())
    monkeypatch.setattr(pq, "write_table", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        written(tmp_path / "run.test.trec")
    assert not list(tmp_path.iterdir())


def test_a_run_file_is_never_without_its_scores(tmp_path, monkeypatch):
    """A kill between the two renames leaves the scores alone, and the stage ranks again."""
    import os

    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda a, b: replace(a, b) if str(b).endswith("parquet") else 1 / 0)
    with pytest.raises(ZeroDivisionError):
        written(tmp_path / "run.test.trec")
    assert {path.name for path in tmp_path.iterdir()} == {"scores.test.parquet"}


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"qid": ["q"], "docid": ["a"]}, "no table of qid, docid, rank, score can be read"),
        ({"qid": ["q"], "docid": ["a"], "score": ["high"]}, "no table of qid, docid, rank, score can be read"),
        ({"qid": ["q"], "docid": [None], "score": [1.0]}, "a line has no qid, docid, rank"),
        ({"qid": ["q", "q"], "docid": ["a", "a"], "score": [1.0, 2.0]}, "query q lists passage a twice"),
        ({"qid": ["q", "q"], "docid": ["a", "b"], "rank": [1, 2], "score": [1.0, 2.0]}, "the score rises .* at rank 2"),
    ],
)
def test_a_table_that_is_no_run_is_refused(tmp_path, columns, message):
    pq.write_table(pa.table(columns), tmp_path / "x.parquet")
    with pytest.raises(BadInput, match=message):
        open_run(tmp_path / "x.parquet")


def test_scores_of_a_fusion_need_no_ranks_and_ids_may_be_numbers(tmp_path):
    fused = pa.table({"score": [0.5, 2.5, 1.5], "docid": [10, 11, 12], "qid": [1, 1, 1]})
    pq.write_table(fused, tmp_path / "fused.parquet")
    assert dict(open_run(tmp_path / "fused.parquet")) == {"1": [("11", 2.5), ("12", 1.5), ("10", 0.5)]}


def test_what_is_no_parquet_is_refused(tmp_path):
    (tmp_path / "x.parquet").write_text("q a 1\n")
    for name in ("x.parquet", "absent.parquet"):
        with pytest.raises(BadInput, match=f"{name}: no table of") as error:
            open_run(tmp_path / name)
        assert "\n" not in str(error.value)
