"""A collection whose folder is not on this machine: what stands in its place where nothing is read (`check=true`)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bmae_lightning.corpus.collection import Collection
from bmae_lightning.corpus.records import Judgment, Passage, Query, Rules
from bmae_lightning.corpus.stream import Stream


class AbsentCorpus(Collection):
    """what: how messages call it. splits: that it has as published. documents: whether passages will say of which they
    are; it is taken to have all else that is asked for."""

    def __init__(self, what: str, splits: list[str], documents: bool = True) -> None:
        self.rules, self.what, self._splits, self._documents = Rules(), what, splits, documents

    @property
    def name(self) -> str:
        return self.what

    def options(self) -> dict[str, Any]:
        return {"what": self.what, "splits": self._splits, "documents": self._documents}

    def passages(self) -> Stream[Passage]:
        return self._nothing()

    def queries_of(self, split: str) -> Stream[Query]:
        return self._nothing()

    def judgments(self, split: str) -> Stream[Judgment]:
        return self._nothing()

    def negatives(self, split: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        return iter([("", ())])

    def splits(self) -> list[str]:
        return self._splits

    def files(self) -> list[Path]:
        return []

    def downloads(self) -> list[str]:
        return [self.what]

    def has_documents(self) -> bool:
        return self._documents

    def _nothing(self) -> Stream:
        return Stream(self.what, tuple, lambda *_: None)
