"""Hard negatives that come with a collection's queries, as a ranking like that of any stage; no equation."""

from collections.abc import Iterable, Sequence

import numpy as np

from bmae_lightning.run import Run


def run_of_lists(lists: Iterable[tuple[str, Sequence[str]]]) -> Run:
    """A run of (query id, passage ids in rank order), with scores that fall by one; memory is four bytes an entry and the
    ids of the passages."""
    code: dict[str, int] = {}
    queries, rows = [], []
    for query, passages in lists:
        queries.append(query)
        rows.append(np.array([code.setdefault(passage, len(code)) for passage in passages], dtype=np.int32))
    scores = [np.arange(len(row), 0, -1, dtype=np.float32) for row in rows]
    return Run.from_rows(queries, list(code), rows, scores)
