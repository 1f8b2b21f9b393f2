"""Which passage follows which in its document: MASTER's neighbouring spans, from `doc_id` and `position`.

The memory is three numbers a passage, whatever the ids look like: documents are told apart by a 64-bit hash.
"""

from array import array
from collections.abc import Iterable, Iterator
from hashlib import blake2b

import numpy as np

from bmae_lightning.corpus.records import Passage

NO_POSITION = np.iinfo(np.int64).max


class DocumentOrder:
    """Collects the place of every passage while the passages stream by, then says who their neighbours are."""

    def __init__(self) -> None:
        self.document, self.position, self.known = array("Q"), array("q"), array("b")

    def watch(self, passages: Iterable[Passage]) -> Iterator[Passage]:
        """The same passages, their places noted."""
        for passage in passages:
            name = (passage.doc_id or "").encode()
            self.document.append(int.from_bytes(blake2b(name, digest_size=8).digest(), "little"))
            self.position.append(NO_POSITION if passage.position is None else passage.position)
            self.known.append(passage.doc_id is not None)
            yield passage

    def neighbours(self) -> np.ndarray:
        """The neighbour's row of every passage, int64 [rows]: the next of its document, for the last the one before it.

        -1 without a doc_id and where a document has one passage. Passages without a position stand behind the others of
        their document, equal positions in the order of the file.
        """
        rows = np.flatnonzero(np.frombuffer(self.known, dtype=np.int8))
        document, position = (
            np.frombuffer(column, dtype=column.typecode)[rows] for column in (self.document, self.position)
        )
        order = np.lexsort((position, document))
        rows, same = rows[order], np.diff(document[order]) == 0
        found = np.full(len(self.known), -1, dtype=np.int64)
        found[rows[1:][same]] = rows[:-1][same]
        found[rows[:-1][same]] = rows[1:][same]
        return found
