"""Records in order, each with its line number, so that every broken line can be named.

What a row is, and how it becomes a record, is up to the format.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar

from bmae_lightning.corpus.lines import BrokenLine, Problems, raw_lines

Record = TypeVar("Record")


@dataclass(frozen=True)
class Stream(Generic[Record]):
    """May be read again and again.

    source: what messages call it, a file or a part of a published collection. rows: opens it and yields (number from 1,
    row). parse: makes the record of (source, number, row), or raises BrokenLine.
    """

    source: Path | str
    rows: Callable[[], Iterable[tuple[int, Any]]]
    parse: Callable[[Path | str, int, Any], Record]

    def __iter__(self) -> Iterator[Record]:
        """Yields the records; the first broken row is raised."""
        return (record for _, record in self.numbered())

    def numbered(self) -> Iterator[tuple[int, Record]]:
        """Yields (number, record); the first broken row is raised."""
        for number, row in self.rows():
            yield number, self.parse(self.source, number, row)

    def located(self, problems: Problems) -> Iterator[tuple[int, Record]]:
        """Yields (number, record) of the sound rows and notes the broken ones."""
        for number, row in self.rows():
            try:
                record = self.parse(self.source, number, row)
            except BrokenLine as problem:
                problems.add(problem)
            else:
                yield number, record


def lines_of(path: Path, parse: Callable[[Path, int, bytes], Record]) -> Stream[Record]:
    """The records of a plain or gzip file with one a line."""
    return Stream(path, partial(raw_lines, path), parse)
