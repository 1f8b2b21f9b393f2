"""What a collection offers to the prepare stage: passages, queries, judgments and answers by split.

A format is one subclass and one YAML of the group `corpus`.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from bmae_lightning.corpus.check import Check, Known
from bmae_lightning.corpus.document_order import HEAD
from bmae_lightning.corpus.records import Counts, Judgment, Passage, Query, Rules
from bmae_lightning.corpus.stream import Stream
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.file_digest import file_digest

_USUAL_ORDER = {"train": 0, "dev": 1, "validation": 2, "test": 3}


class Collection(ABC):
    """Passages to search, queries, and which passages were judged relevant to which query; everything is streamed.

    Attributes:
        rules: what becomes of titles and of faults that published collections have.

    All methods raise BadInput, naming file and line where there is one, for anything wrong in the files.
    """

    rules: Rules

    @property
    @abstractmethod
    def name(self) -> str:
        """What tables and model cards call it: the name of a directory, or of a published collection."""

    @property
    def title(self) -> str:
        """What becomes of titles."""
        return self.rules.title

    @abstractmethod
    def passages(self) -> Stream[Passage]:
        """All passages, always in the same order."""

    def has_documents(self) -> bool:
        """Whether passages say of which document they are, as far as the first ones tell."""
        return any(passage.doc_id is not None for passage in islice(self.passages(), HEAD))

    @abstractmethod
    def queries_of(self, split: str) -> Stream[Query]:
        """The queries that may be judged in a split; the stream may hold any number of others."""

    @abstractmethod
    def judgments(self, split: str) -> Stream[Judgment]:
        """The judgments of one split."""

    def queries(self) -> Iterable[Query]:
        """Yields the judged queries, split by split, every id once.

        Raises BadInput for a query that has different texts in different splits.
        """
        seen: dict[str, int] = {}
        for split in self.splits():
            stream, judged = self.queries_of(split), {judgment.query_id for judgment in self.judgments(split)}
            for query in stream:
                if query.id not in judged:
                    continue
                if query.id not in seen:
                    seen[query.id] = hash(query.text)
                    yield query
                elif seen[query.id] != hash(query.text):
                    raise BadInput(
                        f"{stream.source}: query {query.id!r} has another text than in the files of an earlier split "
                        f"({', '.join(self.splits())}); ids must be unique, rename one, or leave a split out."
                    )

    def qrels(self, split: str) -> dict[str, dict[str, int]]:
        """Query id -> passage id -> relevance of one split."""
        found: dict[str, dict[str, int]] = {}
        for judgment in self.judgments(split):
            found.setdefault(judgment.query_id, {})[judgment.passage_id] = judgment.relevance
        return found

    def answers(self, split: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yields (query id, its accepted answers) of one split; nothing where relevance is only judged."""
        return iter(())

    def negatives(self, split: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yields (query id, its hard negatives, hardest first) of one split; nothing where the files have none."""
        return iter(())

    @abstractmethod
    def splits(self) -> list[str]:
        """Names of the judged (or answered) splits, told without reading their files."""

    def inspect(self, check: Check) -> None:
        """Shows every stream to `check`, passages first; a file that is missing is told before one is read."""
        self.files()
        check.passages(self.passages())
        read: dict[Path | str, Known] = {}
        for split in self.splits():
            queries = self.queries_of(split)
            if queries.source not in read:
                read[queries.source] = check.queries(queries)
            check.judgments(split, self.judgments(split), read[queries.source])

    def check(self, see: Callable[[Passage | Query], None] | None = None) -> Counts:
        """Reads everything once and returns what there is; raises one BadInput for the first problem found.

        see: called with every record, the passages in their order.
        """
        check = Check(self.rules.tolerate, see)
        self.inspect(check)
        return check.counts(sum(1 for _ in self.queries()))

    def published(self) -> dict[str, Any]:
        """What it should hold where that is known, as the option `expected` of its YAML: passages, splits."""
        return {}

    def downloads(self) -> list[str]:
        """What a library fetches where it is not there yet, by name; nothing where there are files."""
        return []

    @abstractmethod
    def files(self) -> list[Path]:
        """The files that it is read from."""

    def identity(self) -> str:
        """What a result depends on apart from the options: SHA-256 of the names and bytes of `files`."""
        total = hashlib.sha256()
        for path in dict.fromkeys(self.files()):
            total.update(f"{path.name} {file_digest(path)}\n".encode())
        return total.hexdigest()

    @abstractmethod
    def options(self) -> dict[str, Any]:
        """The arguments of the constructor that make it again, as JSON can hold them, paths absolute."""

    def node(self) -> dict[str, Any]:
        """The configuration that `build` makes this collection from again, wherever that is run."""
        return {"_target_": f"{type(self).__module__}.{type(self).__qualname__}", **self.options()}


def split_order(name: str) -> tuple[int, str]:
    """Sorts train, dev, test first, other splits by name behind them."""
    return _USUAL_ORDER.get(name, len(_USUAL_ORDER)), name
