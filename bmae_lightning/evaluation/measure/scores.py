"""The true scores of a run, in a Parquet file beside its TREC file, whose score column only says the order.

Columns qid, docid (text), rank (from 1) and score (float32), in rank order; a passage that was not scored, as below the
ranks that a re-ranker reads, has no score (null).
"""

from pathlib import Path

import numpy as np

from bmae_lightning.evaluation.measure.trec import Run, write_run_lines
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import writing, writing_text

COLUMNS = ("qid", "docid", "rank", "score")
SUFFIX = ".parquet"


def scores_path(run: Path) -> Path:
    """Where the scores of a run lie: run.test.trec -> scores.test.parquet, run.trec.gz -> scores.parquet."""
    name = run.name.removesuffix(".gz").removesuffix(".trec").removeprefix("run")
    return run.with_name(f"scores{name}{SUFFIX}")


def write_scored(path: Path, run: Run, tag: str) -> None:
    """Write a TREC run and beside it its scores; the TREC file appears last, when both are whole, or neither does.

    Raises:
        BadInput: an id holds white space, which a TREC run cannot carry.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    queries_T, passages_T, ranks_T, scores_T = run.columns()
    types = (pa.string(), pa.string(), pa.int32(), pa.float32())
    values = (queries_T, passages_T, ranks_T.astype(np.int32), scores_T.astype(np.float32))
    columns = [pa.array(column, kind) for column, kind in zip(values[:3], types, strict=False)]
    columns.append(pa.array(values[3], types[3], mask=np.isneginf(values[3])))
    with writing_text(path) as file, writing(scores_path(path)) as scores:
        write_run_lines(file, run, tag, path)
        pq.write_table(pa.table(columns, names=COLUMNS), scores, compression="zstd")


def read_scores(path: str | Path) -> Run:
    """The run of a Parquet file with the columns of `write_scored`, in rank order; what has no score has -inf.

    Without a column `rank`, as after a fusion of several runs, it is sorted by score as trec_eval sorts.

    Raises:
        BadInput: no such file, other columns, an empty id, a score or rank that is no number, ranks against the scores.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        ranked = COLUMNS[2] in table.column_names
        queries, passages = (table[name].cast(pa.string()).combine_chunks() for name in COLUMNS[:2])
        scores = table[COLUMNS[3]].cast(pa.float64()).combine_chunks()
        ranks = table[COLUMNS[2]].cast(pa.int64()).combine_chunks() if ranked else None
    except (OSError, pa.ArrowException, KeyError) as error:
        reason = str(error).splitlines()[0]
        raise BadInput(f"{path}: no table of {', '.join(COLUMNS)} can be read: {reason}") from error
    if queries.null_count or passages.null_count or (ranked and ranks.null_count):
        raise BadInput(f"{path}: a line has no {', '.join(COLUMNS[:3])}; give every line all of them")
    (query_Q, rows_T), (passage_P, codes_T) = map(_coded, (queries, passages))
    scores_T = scores.fill_null(-np.inf).to_numpy(zero_copy_only=False)
    if not ranked:
        run = Run.from_entries(query_Q, passage_P, rows_T, codes_T, scores_T).sort()
    else:
        order_T = np.argsort(ranks.to_numpy(), kind="stable")
        run = Run.from_entries(query_Q, passage_P, *(column[order_T] for column in (rows_T, codes_T, scores_T)))
        check_ranks(path, run)
    run.check_pairs(path)
    return run


def check_ranks(path: str | Path, run: Run) -> None:
    """Raise BadInput where the scores of a run that was sorted by rank rise."""
    queries_T, _, ranks_T, scores_T = run.columns()
    rises = np.flatnonzero((ranks_T[1:] > 1) & (scores_T[1:].astype(np.float32) > scores_T[:-1].astype(np.float32)))
    if len(rises):
        place = rises[0]
        raise BadInput(
            f"{path}: the score rises from rank to rank, at rank {ranks_T[place + 1]} of query {queries_T[place]}; "
            "leave out the ranks or the scores, whichever are not meant"
        )


def _coded(column) -> tuple[list[str], np.ndarray]:
    """The values that occur, and which of them each line has: int32 [T]."""
    coded = column.dictionary_encode()
    return coded.dictionary.to_pylist(), coded.indices.to_numpy(zero_copy_only=False).astype(np.int32)
