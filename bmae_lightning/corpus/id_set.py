"""A set of ids in 8 bytes each, whatever they look like: their 64-bit hashes, sorted when they are first asked for.

Two different ids have one hash with a probability of 2^-64; to be certain, compare the ids behind `repeated`.
"""

from array import array
from bisect import bisect_left
from collections.abc import Hashable

import numpy as np


class IdSet:
    """Grows by `add`; may be asked at any time. An id added twice is kept twice, so that `repeated` can tell."""

    def __init__(self) -> None:
        self._hashes = array("q")
        self._sorted = True

    def add(self, id: Hashable) -> None:
        self._hashes.append(hash(id))
        self._sorted = False

    def __len__(self) -> int:
        """How often `add` was called."""
        return len(self._hashes)

    def __contains__(self, id: Hashable) -> bool:
        self._sort()
        place = bisect_left(self._hashes, hash(id))
        return place < len(self._hashes) and self._hashes[place] == hash(id)

    def distinct(self) -> int:
        """The number of different ids."""
        return len(self) - int(self._equal_to_next().sum())

    def repeated(self) -> "IdSet":
        """The ids that were added more than once."""
        found = IdSet()
        found._hashes.extend(np.unique(self._view()[1:][self._equal_to_next()]).tolist())
        return found

    def _equal_to_next(self) -> np.ndarray:
        self._sort()
        hashes = self._view()
        return hashes[1:] == hashes[:-1]

    def _view(self) -> np.ndarray:
        return np.frombuffer(self._hashes, dtype=np.int64) if self._hashes else np.empty(0, dtype=np.int64)

    def _sort(self) -> None:
        if not self._sorted:
            self._view().sort()
            self._sorted = True
