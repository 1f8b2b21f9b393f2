"""Which passage follows which in its document (MASTER's p_i and p_i+1): as the passages say themselves, as a file says,
or as the collection is ordered.

The memory is three numbers a passage, and three a line of a file, whatever ids look like: they are told apart by 64-bit
hashes.
"""

from array import array
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bmae_lightning.corpus.lines import BrokenLine, Problems, as_text, plain_or_gzip
from bmae_lightning.corpus.records import Passage, Query
from bmae_lightning.corpus.stream import Stream, lines_of
from bmae_lightning.runtime.errors import BadInput

STREAMS = ("next", "neighbour")
"""Texts that are known where the order is: the passage that follows, none for the last of a document; and the same but
for the last the one before it."""
COLLECTION_ORDER = "collection_order"
ORDERS = ("documents", COLLECTION_ORDER)
HEAD = 1000
"""Lines or passages that are looked at before anything runs."""
NO_POSITION = np.iinfo(np.int64).max
REMEDY = (
    "give corpus.documents=FILE with lines of passage<tab>document[<tab>position] (docs/finetuning.md §8.1: "
    'those of MS MARCO) or, in JSON lines, passages with "metadata": {"doc_id": …, "position": …}; or set '
    "corpus.neighbours=collection_order, which takes passages that stand next to each other in the collection as "
    "neighbours; or decode halves of a passage as MASTER's released code (reading=code)"
)


class Place(NamedTuple):
    """Where a passage stands."""

    passage: str
    document: str
    position: int | None


class Order(NamedTuple):
    """next: the row of the passage that follows, int64 [rows], -1 for none. told: how it is known, in words."""

    next: np.ndarray
    told: str

    @property
    def neighbour(self) -> np.ndarray:
        """The row of the passage that follows, for the last of a document of the one before it."""
        found, rows = self.next.copy(), np.flatnonzero(self.next >= 0)
        last = self.next[rows]
        found[last] = np.where(found[last] < 0, rows, found[last])
        return found


class DocumentOrder:
    """Notes the place of every passage while the passages stream by, then orders them.

    documents: file of passage<tab>document[<tab>position], read at once; None: as the passages themselves say.
    neighbours: 'documents', or 'collection_order': the next passage of the collection is the one that follows.
    Raises BadInput for a broken line of the file.
    """

    def __init__(self, documents: str | None = None, neighbours: str = ORDERS[0]) -> None:
        self.by_collection = neighbours == COLLECTION_ORDER
        self.file = _File(documents) if documents else None
        self.name, self.position, self.known = array("Q"), array("q"), array("b")

    def note(self, record: Passage | Query) -> None:
        """Called with every passage, in the order of the collection; a query is passed over."""
        if isinstance(record, Passage):
            name = record.id if self.file else record.doc_id
            self.name.append(_hash(name or ""))
            self.position.append(NO_POSITION if record.position is None else record.position)
            self.known.append(name is not None)

    def order(self) -> Order:
        """The order of the passages that were noted.

        Passages without a position stand behind the others of their document, equal positions in the order of the
        collection. Raises BadInput where the file knows none of the passages.
        """
        found = np.full(len(self.known), -1, dtype=np.int64)
        if self.by_collection:
            found[:-1] = np.arange(1, len(found))
            return Order(found, f"corpus.neighbours={COLLECTION_ORDER}: the passage that stands next in the collection "
                         "is taken as the one that follows, whether it is of the same document or not")  # fmt: skip
        document, position = _numbers(self.name), _numbers(self.position)
        known, told = _numbers(self.known) > 0, ""
        if self.file:
            document, position, known, told = self.file.places_of(document)
        rows = np.flatnonzero(known)
        order = rows[np.lexsort((position[rows], document[rows]))]
        same = np.diff(document[order]) == 0
        found[order[:-1][same]] = order[1:][same]
        documents = len(order) - int(same.sum())
        counted = f"{len(order):,} of {len(found):,} passages are of {documents:,} documents"
        return Order(found, f"{counted}, {same.sum():,} have a next one there{told}" if len(rows) else "")


class _File:
    """Lines of passage<tab>document[<tab>position]; of a passage with several documents the first line holds."""

    def __init__(self, documents: str) -> None:
        self.path, problems = documents_file(documents), Problems()
        self.passage, self.document, self.position = array("Q"), array("Q"), array("q")
        for _, place in _places(self.path).located(problems):
            self.passage.append(_hash(place.passage))
            self.document.append(_hash(place.document))
            self.position.append(NO_POSITION if place.position is None else place.position)
        problems.raise_if_any()
        if not self.passage:
            raise BadInput(f"{self.path} is empty; it needs lines of passage<tab>document[<tab>position].")

    def places_of(self, passages: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, str]:
        """Document, position and whether they are known of every passage, by its hash, and what was odd, in words."""
        document, position = _numbers(self.document), _numbers(self.position)
        listed, first, place = np.unique(_numbers(self.passage), return_index=True, return_inverse=True)
        at = np.searchsorted(listed, passages).clip(max=len(listed) - 1)
        known = listed[at] == passages
        if not known.any():
            raise BadInput(
                f"{self.path}: none of the {len(listed):,} passages it lists is in the collection; it belongs to "
                "another one, or counts passages otherwise."
            )
        odd = {
            "passages are not listed there": int((~known).sum()),
            "of those listed are not in the collection": len(listed) - int(known.sum()),
            "lines name another document of a passage than its first line and are not used":
                int((document != document[first[place]]).sum()),
        }  # fmt: skip
        told = "".join(f"; {number:,} {what}" for what, number in odd.items() if number)
        return document[first[at]], position[first[at]], known, f" ({self.path.name}{told})"


def documents_file(documents: str) -> Path:
    """The file, plain or gzip. Raises BadInput where there is none, or an archive."""
    path = Path(documents).expanduser()
    found = path if path.is_file() else plain_or_gzip(path)
    if found is None:
        raise BadInput(f"corpus.documents={documents}: there is no such file (nor {path.name}.gz)")
    if found.suffix in (".zip", ".tar", ".tgz"):
        raise BadInput(f"corpus.documents={documents} is an archive: unpack it, and name the file in it")
    return found


def check_order(collection: Any, documents: str | None, neighbours: str, part: str, stream: str) -> None:
    """Whether it can be known which passage follows which, told from options and the heads of files.

    collection: has `has_documents()`. part: what reads `stream`, for the message. Raises BadInput, which names what can
    be done, or the first broken line of the head of a file.
    """
    if documents:
        for _ in islice(_places(documents_file(documents)), HEAD):
            pass
    elif neighbours != COLLECTION_ORDER and not collection.has_documents():
        raise BadInput(
            f"{part} reads the stream {stream!r}, but none of the first {HEAD:,} passages says of which document it "
            f"is: {REMEDY}"
        )


def _places(path: Path) -> Stream[Place]:
    return lines_of(path, _place)


def _place(path: Path, number: int, line: bytes) -> Place:
    fields = as_text(path, number, line).split("\t")
    if len(fields) not in (2, 3) or not all(field.strip() for field in fields):
        message = f"has {len(fields)} columns, or an empty one; write passage<tab>document[<tab>position]."
        raise BrokenLine(path, number, "columns", message)
    position = None
    if len(fields) == 3:
        try:
            position = int(fields[2])
        except ValueError:
            message = f"the position {fields[2]!r} is no whole number; correct it, or leave the column out."
            raise BrokenLine(path, number, "position", message) from None
    return Place(fields[0].strip(), fields[1].strip(), position)


def _hash(name: str) -> int:
    return int.from_bytes(blake2b(name.encode(), digest_size=8).digest(), "little")


def _numbers(column: array) -> np.ndarray:
    return np.frombuffer(column, dtype=column.typecode)
