"""A re-ranker's scores of training pairs, by which a retriever is distilled: one Parquet file.

Columns query, passage (ids, text) and score (float32, raw). Shapes: P pairs, B queries, n passages of a query.
"""

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.retrieval.negatives.source import Groups
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import writing

FILE = "scores.parquet"


def write_teacher_scores(path: Path, parts: Iterable[tuple[list[str], list[str], np.ndarray]]) -> int:
    """Write (query ids, passage ids, scores) part by part, one row group each; the file appears when it is complete.

    Returns:
        The number of rows.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    schema = pa.schema([("query", pa.string()), ("passage", pa.string()), ("score", pa.float32())])
    rows = 0
    with writing(path) as file, pq.ParquetWriter(file, schema) as writer:
        for queries, passages, scores in parts:
            writer.write_table(pa.table([queries, passages, scores.astype(np.float32)], schema=schema))
            rows += len(scores)
    return rows


class TeacherScores:
    """Scores by (row of the query, row of the passage); 12 bytes a pair in memory.

    Args:
        path: the Parquet file.
        queries, passages: token stores, which know the rows.

    Raises:
        BadInput: no such file, other columns, an unknown id, a pair that stands twice, a score that is not a number.
    """

    def __init__(self, path: Path, queries: TokenStore, passages: TokenStore) -> None:
        self.path, self.queries, self.passages = path, queries, passages
        keys, scores = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.float32)]
        for query_P, passage_P, score_P in self._parts():
            keys.append(query_P * len(passages) + passage_P)
            scores.append(score_P)
        key_P, score_P = np.concatenate(keys), np.concatenate(scores)
        order_P = np.argsort(key_P, kind="stable")
        self.key_P, self.score_P = key_P[order_P], score_P[order_P]
        if len(twice := np.flatnonzero(self.key_P[1:] == self.key_P[:-1])):
            raise BadInput(f"{path}: {self._named(*divmod(int(self.key_P[twice[0]]), len(passages)))} stands twice")
        if len(wrong := np.flatnonzero(~np.isfinite(self.score_P))):
            pair = self._named(*divmod(int(self.key_P[wrong[0]]), len(passages)))
            raise BadInput(f"{path}: the score of {pair} is {self.score_P[wrong[0]]}; the re-ranker diverged")

    def __len__(self) -> int:
        return len(self.key_P)

    def of(self, query_B: Sequence[int], passage_Bn: Sequence[Sequence[int]] | np.ndarray) -> Tensor:
        """Scores [B, n] float32 of each query's own passages, all given as rows.

        Raises:
            BadInput: a score is missing; names query and passage.
        """
        passage_Bn = np.asarray(passage_Bn, dtype=np.int64)
        wanted_Bn = np.asarray(query_B, dtype=np.int64)[:, None] * len(self.passages) + passage_Bn
        place_Bn = np.searchsorted(self.key_P, wanted_Bn).clip(max=max(len(self.key_P) - 1, 0))
        missing_Bn = self.key_P[place_Bn] != wanted_Bn if len(self.key_P) else np.ones(wanted_Bn.shape, dtype=bool)
        if missing_Bn.any():
            key = int(wanted_Bn[missing_Bn][0])
            raise BadInput(
                f"{self.path}: there is no teacher score of {self._named(*divmod(key, len(self.passages)))}: give the "
                "score stage the same ranking and at least the depth of the distilled stage's negatives, and run it "
                "again"
            )
        return torch.from_numpy(self.score_P[place_Bn])

    def check(self, groups: Groups) -> None:
        """Look whether every passage that a group may draw has a score, before any step is made.

        Raises:
            BadInput: a score is missing, or a query has too few hard negatives.
        """
        for query, _, negatives, _ in self._scored(groups):
            if len(negatives) < groups.size - 1 and not (negatives and groups.source.short == "repeat"):
                raise BadInput(
                    f"query {query} has {len(negatives)} hard negatives and train_group_size={groups.size} needs "
                    f"{groups.size - 1}: random ones have no teacher score; use negatives.short=repeat, a smaller "
                    "group, or mine and score deeper"
                )

    def denoise(self, groups: Groups, margin: float) -> int:
        """Keep only negatives that score at least `margin` below the query's worst positive.

        Returns:
            How many negatives go.

        Raises:
            BadInput: a score is missing.
        """
        kept, gone = {}, 0
        for query, positives, negatives, score_n in self._scored(groups):
            highest = min(score_n[: len(positives)]) - margin
            scored = zip(negatives, score_n[len(positives) :], strict=True)
            kept[query] = [passage for passage, score in scored if score <= highest]
            gone += len(negatives) - len(kept[query])
        groups.restrict(kept)
        return gone

    def choose_positives(self, groups: Groups) -> None:
        """Keep a query's first positive, and those that score at least as high or above all its negatives.

        Raises:
            BadInput: a score is missing.
        """
        for query, positives, _, score_n in self._scored(groups):
            best = max(score_n[len(positives) :], default=math.inf)
            groups.positives[query] = [
                passage
                for place, (passage, score) in enumerate(zip(positives, score_n, strict=False))
                if place == 0 or score >= score_n[0] or score > best
            ]

    def _scored(self, groups: Groups) -> Iterator[tuple[str, list[str], list[str], list[float]]]:
        """(query, positives, negatives, scores of positives and negatives) of every group."""
        for query, row in zip(groups.ids, groups.query_rows, strict=True):
            positives, negatives = groups.positives[query], groups.negatives[query]
            rows = self.passages.rows_of([*positives, *negatives])
            yield query, positives, negatives, self.of([row], [rows])[0].tolist()

    def _parts(self) -> Iterable[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        import pyarrow as pa
        import pyarrow.parquet as pq

        columns = ["query", "passage", "score"]
        try:
            file = pq.ParquetFile(self.path, read_dictionary=columns[:2])
            for part in file.iter_batches(1 << 20, columns=columns):
                rows = [
                    self._rows(part[name], store)
                    for name, store in zip(columns, (self.queries, self.passages), strict=False)
                ]
                yield rows[0], rows[1], part["score"].cast(pa.float32()).to_numpy(zero_copy_only=False)
        except (OSError, pa.ArrowException, KeyError) as error:
            raise BadInput(
                f"{self.path}: no table of teacher scores (columns {', '.join(columns)}) can be read: "
                f"{str(error).splitlines()[0]}"
            ) from error

    def _rows(self, column, store: TokenStore) -> np.ndarray:
        try:
            rows = store.rows_of(column.dictionary.to_pylist())
        except KeyError as error:
            raise BadInput(
                f"{self.path}: the id {error.args[0]!r} is not in the prepared corpus; score its own pairs"
            ) from None
        return rows[column.indices.to_numpy(zero_copy_only=False)]

    def _named(self, query: int, passage: int) -> str:
        return f"query {self.queries.external_id(query)} and passage {self.passages.external_id(passage)}"
