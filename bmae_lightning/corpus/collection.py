"""What a collection offers to the prepare stage: passages, queries, judgments and answers by split.

A format is one subclass and one YAML of the group `corpus`.
"""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bmae_lightning.corpus.check import Check
from bmae_lightning.corpus.records import Counts, Judgment, Passage, Query, Rules
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
    def passages(self) -> Iterator[Passage]:
        """Yields all passages, always in the same order."""

    @abstractmethod
    def queries(self) -> Iterator[Query]:
        """Yields the queries of all `splits`, every id once."""

    @abstractmethod
    def judgments(self, split: str) -> Iterator[Judgment]:
        """Yields the judgments of one split."""

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

    @abstractmethod
    def inspect(self, check: Check) -> Counts:
        """Shows every stream to `check`, passages first, and returns what there is."""

    def check(self) -> Counts:
        """Reads everything once and returns what there is; raises one BadInput for the first problem found."""
        return self.inspect(Check(self.rules.tolerate))

    def published(self) -> dict[str, Any]:
        """What it should hold where that is known, as the option `expected` of its YAML: passages, splits."""
        return {}

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
