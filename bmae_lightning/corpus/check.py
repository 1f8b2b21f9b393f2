"""What must hold in every collection, whatever its format: unique ids, texts, judgments of what is there.

A collection shows its streams to a `Check`; memory is 8 bytes an id and 24 a judgment.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bmae_lightning.corpus.id_set import IdSet
from bmae_lightning.corpus.lines import BrokenLine, Problems
from bmae_lightning.corpus.records import Counts, Judgment, Passage, Query
from bmae_lightning.corpus.stream import Stream
from bmae_lightning.runtime.errors import BadInput

TRAIN = "train"


class Judged(NamedTuple):
    """What one split holds: different pairs, queries, those without a relevant passage, unknown passages tolerated; by
    answers: its queries are judged by what a passage says, not by pairs."""

    pairs: int
    queries: int
    without_positive: int
    unknown: int
    by_answers: bool = False


class Known(NamedTuple):
    """The ids of a stream, and what messages call it."""

    source: Path | str
    ids: IdSet


class Check:
    """Reads streams, the passages first; raises BadInput for the first problem of each.

    tolerate: as in `Rules`; what is tolerated is counted, not refused.  see: called with every sound record.

    Attributes: `passage_count`, `words` (blank-separated, of passages), `empty` (passages without text), `judged`
    (split -> Judged).
    """

    def __init__(self, tolerate: tuple[str, ...] = (), see: Callable[[Passage | Query], None] | None = None) -> None:
        self.tolerate, self._see = tolerate, see
        self.passage_count, self.words, self.empty = 0, 0, 0
        self.judged: dict[str, Judged] = {}

    def passages(self, stream: Stream[Passage]) -> None:
        """Reads all passages."""
        self._passages = self._records(stream)
        self.passage_count = len(self._passages.ids)

    def queries(self, stream: Stream[Query]) -> Known:
        """Reads one file of queries and returns its ids."""
        return self._records(stream)

    def has_passage(self, id: str) -> bool:
        """Whether a passage was read."""
        return id in self._passages.ids

    def answered(self, split: str, queries: Known) -> None:
        """Notes a split whose queries have answers and no judgments."""
        self.judged[split] = Judged(0, len(queries.ids), 0, 0, by_answers=True)

    def judgments(self, split: str, stream: Stream[Judgment], queries: Known) -> None:
        """Reads the judgments of one split. queries: those that may be judged in it."""
        problems, pairs, asked, positives = Problems(), IdSet(), IdSet(), IdSet()
        strangers, unknown = 0, 0
        for number, (query_id, passage_id, relevance) in stream.located(problems):
            pairs.add((query_id, passage_id))
            asked.add(query_id)
            if relevance > 0:
                positives.add(query_id)
            if query_id not in queries.ids:
                strangers += 1
                problems.add(_unknown(stream, number, query_id, queries))
            if passage_id not in self._passages.ids:
                unknown += 1
                if "unknown" not in self.tolerate or split == TRAIN:
                    problems.add(_unknown(stream, number, passage_id, self._passages))
        if strangers and strangers == len(pairs):
            raise BadInput(
                f"{stream.source}: none of the {asked.distinct():,} queries judged there is in {queries.source}, which "
                f"holds unjudged queries only; one of the two files belongs to another set (split {split!r})."
            )
        _contradictions(stream, pairs.repeated(), problems)
        self.settle(problems)
        if not len(positives):
            what = "only scores of 0 or less" if len(pairs) else "no judgments"
            raise BadInput(
                f"{stream.source} has {what}: its queries can neither train nor test a retriever; "
                f"add judgments above 0, or leave the split out (corpus.splits)."
            )
        different = asked.distinct()
        self.judged[split] = Judged(pairs.distinct(), different, different - positives.distinct(), unknown)

    def counts(self, queries: int) -> Counts:
        """What was read. queries: how many of them the collection offers."""
        judgments = {split: judged.pairs for split, judged in self.judged.items()}
        return Counts(self.passage_count, queries, judgments, self.words)

    def see(self, record: Passage | Query) -> None:
        """Called with every sound record; a subclass may look at it."""
        if self._see:
            self._see(record)

    def settle(self, problems: Problems) -> None:
        """Called with the problems of a stream when it was read to its end; a subclass may collect them instead."""
        problems.raise_if_any()

    def _records(self, stream: Stream[Passage] | Stream[Query]) -> Known:
        problems, ids = Problems(), IdSet()
        for _, record in stream.located(problems):
            ids.add(record.id)
            if isinstance(record, Passage):
                self.words += len(record.content.split())
                self.empty += not record.content
            self.see(record)
        _duplicates(stream, ids.repeated(), problems)
        self.settle(problems)
        if not len(ids):
            raise BadInput(f"{stream.source} is empty; a collection needs passages and queries.")
        return Known(stream.source, ids)


def _duplicates(stream: Stream[Passage] | Stream[Query], repeated: IdSet, problems: Problems) -> None:
    """Note the records whose very id was there before; read again only if there are equal hashes."""
    seen: set[str] = set()
    for number, record in stream.located(Problems()) if len(repeated) else ():
        if record.id in seen:
            message = f"id {record.id!r} was used before in this file; ids must be unique, remove or rename one."
            problems.add(BrokenLine(stream.source, number, "duplicate", message))
        elif record.id in repeated:
            seen.add(record.id)


def _contradictions(stream: Stream[Judgment], repeated: IdSet, problems: Problems) -> None:
    """Note the pairs that were judged before, and differently."""
    seen: dict[tuple[str, str], int] = {}
    for number, (query_id, passage_id, relevance) in stream.located(Problems()) if len(repeated) else ():
        pair = (query_id, passage_id)
        if pair in repeated and seen.setdefault(pair, relevance) != relevance:
            message = f"{query_id!r} and {passage_id!r} were judged before with another score; keep one of the lines."
            problems.add(BrokenLine(stream.source, number, "contradiction", message))


def _unknown(stream: Stream[Judgment], number: int, id: str, known: Known) -> BrokenLine:
    name = known.source.name if isinstance(known.source, Path) else known.source
    message = f"{id!r} is not an id of {name}; remove the line, or add the record to {name}."
    return BrokenLine(stream.source, number, f"unknown in {name}", message)
