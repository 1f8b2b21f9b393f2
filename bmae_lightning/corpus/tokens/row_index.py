"""From ids to the rows they stand in, for 12 bytes an id: their 64-bit hashes, sorted, with the row beside each.

An id that is not there is taken for another with a probability of 2^-64 times the number of ids.
"""

from collections.abc import Callable, Iterable, Sequence

import numpy as np


class RowIndex:
    """ids: in the order of their rows.  count: how many.  id_of: gives the id of a row, where two hashes are equal."""

    def __init__(self, ids: Iterable[str], count: int, id_of: Callable[[int], str]) -> None:
        hashes = np.fromiter(map(hash, ids), dtype=np.int64, count=count)
        order = np.argsort(hashes, kind="stable")
        self._hashes, self._rows = hashes[order], order.astype(np.int32 if count < 2**31 else np.int64)
        self._id_of = id_of
        self._alike = bool((self._hashes[1:] == self._hashes[:-1]).any())

    def rows_of(self, ids: Sequence[str]) -> np.ndarray:
        """The rows, int64 [ids]. Raises KeyError with the first id that is unknown."""
        wanted = np.fromiter(map(hash, ids), dtype=np.int64, count=len(ids))
        places = np.searchsorted(self._hashes, wanted)
        found = places < len(self._hashes)
        found[found] = self._hashes[places[found]] == wanted[found]
        if not found.all():
            raise KeyError(ids[int(np.flatnonzero(~found)[0])])
        if self._alike:
            return np.array([self._row_of(id, place) for id, place in zip(ids, places.tolist(), strict=True)])
        return self._rows[places].astype(np.int64)

    def _row_of(self, id: str, place: int) -> int:
        """Among the rows whose ids have one hash, from `place` on."""
        hash_ = self._hashes[place]
        while place < len(self._hashes) and self._hashes[place] == hash_:
            row = int(self._rows[place])
            if self._id_of(row) == id:
                return row
            place += 1
        raise KeyError(id)
