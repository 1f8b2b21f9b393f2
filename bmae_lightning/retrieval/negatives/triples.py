"""Hard negatives from a file of training triples (query, positive, negative), such as MS MARCO's official one.

The file is streamed; memory is four bytes for every negative kept, and the ids of the passages among them.
Shapes: Q training queries, K = depth, T triples of a block.
"""

import re
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv

from bmae_lightning.evaluation.measure.trec import Run
from bmae_lightning.retrieval.negatives.file import FileNegatives
from bmae_lightning.retrieval.negatives.hard_negatives import negatives_from_run
from bmae_lightning.runtime.errors import BadInput

COLUMNS = ("query", "positive", "negative")
BLOCK = 2**20
"""Bytes read at a time."""


class TripleNegatives(FileNegatives):
    """As `RankedNegatives`: for every query the first `depth` different negatives of the file.

    Args:
        path: lines `query<tab>positive<tab>negative` of ids (qidpidtriples.train.full.2.tsv), gzipped where the name
            ends in .gz; queries that are not trained with are skipped.
        depth, empty, margin, least, short: as for `RankedNegatives`.
    """

    def of(self, run: Run | None, positives: Mapping[str, Sequence[str]]) -> dict[str, list[str]]:
        """Query id -> passage ids in the order of the file.

        Raises:
            BadInput: a line without three columns, a damaged file, or no training query in it.
        """
        queries, codes = list(positives), {}
        wanted = pa.array(queries, pa.string())
        kept_QK = np.full((len(queries), self.depth), -1, dtype=np.int32)
        number_Q = np.zeros(len(queries), dtype=np.int64)
        for block in self._blocks():
            query_T = pc.fill_null(pc.index_in(block["query"], wanted), -1).to_numpy()
            open_T = (query_T >= 0) & (number_Q[query_T] < self.depth)
            negatives = block["negative"].filter(pa.array(open_T)).dictionary_encode()
            known = [codes.setdefault(id, len(codes)) for id in negatives.dictionary.to_pylist()]
            code_T = np.array(known, dtype=np.int32)[negatives.indices.to_numpy()]
            _add(kept_QK, number_Q, query_T[open_T], code_T)
        if not number_Q.any():
            raise BadInput(
                f"{self.path}: none of the {len(queries)} training queries is in it; take the triples of this corpus"
            )
        scores_QK = np.broadcast_to(np.arange(self.depth, 0, -1, dtype=np.float32), kept_QK.shape)
        return negatives_from_run(Run.from_rows(queries, list(codes), kept_QK, scores_QK), positives, self.depth)

    def _blocks(self) -> Iterator[pa.RecordBatch]:
        try:
            yield from csv.open_csv(
                self.path,
                read_options=csv.ReadOptions(column_names=COLUMNS, block_size=BLOCK, use_threads=False),
                parse_options=csv.ParseOptions(delimiter="\t", quote_char=False),
                convert_options=csv.ConvertOptions(column_types=dict.fromkeys(COLUMNS, pa.string())),
            )
        except pa.ArrowInvalid as error:
            raise BadInput(
                f"{self.path}: {_where(error)}; a line is {'<tab>'.join(COLUMNS)}, all of them ids"
            ) from error
        except OSError as error:
            raise BadInput(f"{self.path} cannot be read: {error}; copy or download it again") from error


def _add(kept_QK: np.ndarray, number_Q: np.ndarray, query_T: np.ndarray, code_T: np.ndarray) -> None:
    """Append the codes that a query does not have yet, as long as there is room."""
    first = np.sort(np.unique(query_T.astype(np.int64) << 32 | code_T, return_index=True)[1])
    query_T, code_T = query_T[first], code_T[first]
    new = ~(kept_QK[query_T] == code_T[:, None]).any(axis=1)
    order = np.argsort(query_T[new], kind="stable")
    query_T, code_T = query_T[new][order], code_T[new][order]
    number_T = np.arange(len(query_T)) - np.searchsorted(query_T, query_T) + number_Q[query_T]
    fits = number_T < kept_QK.shape[1]
    kept_QK[query_T[fits], number_T[fits]] = code_T[fits]
    number_Q += np.bincount(query_T[fits], minlength=len(number_Q))


def _where(error: Exception) -> str:
    """Arrow's `CSV parse error: Row #7: Expected 3 columns, got 2: a b` without the line itself."""
    found = re.search(r"Row #(\d+): (Expected \d+ columns, got \d+)", str(error))
    return f"line {found[1]}: {found[2].lower()}" if found else " ".join(str(error).split())[:120]
