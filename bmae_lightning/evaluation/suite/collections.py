"""Which collections a benchmark is made of: named sets in the papers' order, directories, folders that count as one.

BEIR's rules (its paper, section 3, and its authors' reply on CQADupStack): a folder of sub-forums is one data set, the
unweighted mean of its parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bmae_lightning.corpus.beir import BeirCorpus
from bmae_lightning.corpus.collection import Collection
from bmae_lightning.corpus.ir_datasets import IrDatasetsCorpus, library
from bmae_lightning.corpus.lines import plain_or_gzip
from bmae_lightning.corpus.records import TOLERATE
from bmae_lightning.runtime.checks import nearest
from bmae_lightning.runtime.errors import BadInput

LIBRARY, BEIR = "ir_datasets", "beir/"
"""The path that means the library, and where BEIR is in it."""


@dataclass(frozen=True)
class DataSet:
    """One row of the table.

    Attributes:
        name: as it is printed.
        parts: name of the part -> collection; a data set without parts has one, named "".
    """

    name: str
    parts: dict[str, Collection]


@dataclass(frozen=True)
class Group:
    """Data sets whose unweighted mean is reported.

    Attributes:
        name: of the named set, empty for all that were given one by one.
        members, missing: printed names of those that are there, and of those that are not.
    """

    name: str
    members: list[str]
    missing: list[str]


@dataclass(frozen=True)
class Benchmark:
    """The data sets that were asked for, in the order of the named sets, others behind them as they were given."""

    data_sets: list[DataSet]
    groups: list[Group]


@dataclass(frozen=True)
class Place:
    """Where collections lie by name: directories in BEIR layout below `path`.

    Args:
        path: of the directory that holds them.
        split: the judged split.
        titles: `prepend`, `pair` or `drop`.
    """

    path: Path
    split: str
    titles: str

    def __str__(self) -> str:
        return str(self.path)

    def names(self) -> list[str]:
        """What can be asked for."""
        return sorted(path.name for path in self.path.iterdir()) if self.path.is_dir() else []

    def has(self, name: str) -> bool:
        """Whether there is a collection, or a folder of parts, of this name."""
        return not Path(name).is_absolute() and (self.path / name).is_dir()

    def whole(self, name: str) -> bool:
        """Whether it is a collection itself."""
        return plain_or_gzip(self.path / name / "corpus.jsonl") is not None

    def collection(self, name: str) -> Collection:
        """The collection as published: passages without text and judgments of unknown passages belong to it."""
        return BeirCorpus(str(self.path / name), [self.split], self.titles, list(TOLERATE))


class Library(Place):
    """BEIR as far as ir_datasets has it, fetched when it is read."""

    def names(self) -> list[str]:
        return [id.removeprefix(BEIR) for id in library().registry if id.startswith(BEIR)]

    def has(self, name: str) -> bool:
        return any(id == name or id.startswith(f"{name}/") for id in self.names())

    def whole(self, name: str) -> bool:
        return name in self.names()

    def collection(self, name: str) -> Collection:
        id = f"{name}/{self.split}" if self.whole(f"{name}/{self.split}") else name
        return IrDatasetsCorpus(BEIR + name, {self.split: BEIR + id}, self.titles, list(TOLERATE))


@dataclass
class DataSets:
    """Finds collections and knows how they are called.

    Args:
        path: directory that holds collections by name, `ir_datasets` for that library, null where every collection is
            given as a directory.
        split: the judged split.
        titles: `prepend`, `pair` or `drop`.
        sets: name of a set -> directory of a member below `path` -> its printed name.
        parts: directory of a data set -> its sub-directories, each a collection.
    """

    path: str | None
    split: str
    titles: str
    sets: Mapping[str, Mapping[str, str]]
    parts: Mapping[str, Sequence[str]]

    def __post_init__(self) -> None:
        self.place = None
        if self.path is not None:
            kind = Library if self.path == LIBRARY else Place
            self.place = kind(Path(self.path).expanduser(), self.split, self.titles)
        self.printed = {name: shown for members in self.sets.values() for name, shown in members.items()}

    def find(self, wanted: Sequence[str | Collection]) -> Benchmark:
        """The data sets of `wanted`: names of sets, names below `path`, directories in BEIR layout, collections.

        Raises:
            BadInput: one that does not exist, or comes twice, or a set none of whose members is there.
        """
        found: dict[str, DataSet] = {}
        groups = []
        for item in wanted:
            if isinstance(item, str) and item in self.sets:
                members, group = self._set(item)
                groups.append(group)
                found |= {data_set.name: data_set for data_set in members}
                continue
            data_set = self._one(item)
            if data_set.name in found:
                raise BadInput(f"suite.collections: {data_set.name!r} comes twice; remove or rename one of them")
            found[data_set.name] = data_set
        order = list(dict.fromkeys(self.printed.values()))
        ranks = {name: order.index(name) if name in order else len(order) for name in found}
        data_sets = sorted(found.values(), key=lambda data_set: ranks[data_set.name])
        return Benchmark(data_sets, groups or [Group("", [data_set.name for data_set in data_sets], [])])

    def _set(self, name: str) -> tuple[list[DataSet], Group]:
        members, place = self.sets[name], self.place
        if place is None:
            some = ", ".join(list(members)[:3])
            raise BadInput(
                f"suite.collections={name} needs suite.path=DIR, the directory that holds {some}, ... (or {LIBRARY})"
            )
        there = {member: shown for member, shown in members.items() if place.has(member)}
        if not there:
            raise BadInput(
                f"suite.path={place} holds none of the collections of {name}: {', '.join(members)}; unpack BEIR's "
                "archives there, one directory each"
            )
        absent = [shown for member, shown in members.items() if member not in there]
        return [self._data_set(place, member) for member in there], Group(name, list(there.values()), absent)

    def _one(self, item: str | Collection) -> DataSet:
        if isinstance(item, Collection):
            return DataSet(item.name, {"": item})
        if self.place is not None and self.place.has(item):
            return self._data_set(self.place, item)
        directory = Path(item).expanduser().absolute()
        if directory.is_dir():
            return self._data_set(Place(directory.parent, self.split, self.titles), directory.name)
        names = [*self.sets, *(self.place.names() if self.place else [])]
        some = f"give one, or one of {', '.join(self.sets)} and suite.path"
        raise BadInput(
            f"suite.collections: {item!r} is no directory"
            + (f", nor is it in {self.place}" if self.place else "")
            + nearest(item, names, otherwise=f"; {some}")
        )

    def _data_set(self, place: Place, name: str) -> DataSet:
        shown = self.printed.get(name, Path(name).name)
        if place.whole(name) or name not in self.parts:
            return DataSet(shown, {"": place.collection(name)})
        absent = [part for part in self.parts[name] if not place.has(f"{name}/{part}")]
        if absent:
            raise BadInput(
                f"{name} in {place} is the mean of {len(self.parts[name])} collections, and {', '.join(absent)} "
                f"{'is' if len(absent) == 1 else 'are'} not there; add them, or name the others one by one"
            )
        return DataSet(shown, {part: place.collection(f"{name}/{part}") for part in self.parts[name]})
