"""Which collections a benchmark is made of: named sets in the papers' order, directories, folders of parts that count as one.

BEIR's rules (its paper, section 3, and its authors' reply on CQADupStack): a folder of sub-forums is one data set, the
unweighted mean of its parts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from bmae_lightning.corpus.beir import BeirCorpus
from bmae_lightning.corpus.collection import Collection
from bmae_lightning.corpus.lines import plain_or_gzip
from bmae_lightning.corpus.rules import TOLERATE
from bmae_lightning.errors import BadInput


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


class DataSets:
    """Knows where collections lie and how they are called.

    Args:
        path: directory that holds collections by name, null where every collection is given as a directory.
        split: the judged split.
        titles: `prepend` or `drop`.
        sets: name of a set -> directory of a member below `path` -> its printed name.
        parts: directory of a data set -> its sub-directories, each a collection.
    """

    def __init__(
        self, path: str | None, split: str, titles: str, sets: Mapping[str, Mapping[str, str]],
        parts: Mapping[str, Sequence[str]],
    ) -> None:  # fmt: skip
        self.path = None if path is None else Path(path).expanduser()
        self.split, self.titles, self.sets, self.parts = split, titles, sets, parts
        self.printed = {name: shown for members in sets.values() for name, shown in members.items()}

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
        if self.path is None:
            some = ", ".join(list(self.sets[name])[:3])
            raise BadInput(f"suite.collections={name} needs suite.path=DIR, the directory that holds {some}, ...")
        there = {member: shown for member, shown in self.sets[name].items() if (self.path / member).is_dir()}
        if not there:
            raise BadInput(
                f"suite.path={self.path} holds none of the collections of {name}: {', '.join(self.sets[name])}; "
                "unpack BEIR's archives there, one directory each"
            )
        absent = [shown for member, shown in self.sets[name].items() if member not in there]
        return [self._directory(self.path / member) for member in there], Group(name, list(there.values()), absent)

    def _one(self, item: str | Collection) -> DataSet:
        if isinstance(item, Collection):
            return DataSet(item.name, {"": item})
        below = None if self.path is None else self.path / item
        for directory in (below, Path(item).expanduser()):
            if directory is not None and directory.is_dir():
                return self._directory(directory)
        names = [*self.sets, *([path.name for path in self.path.iterdir()] if below and self.path.is_dir() else [])]
        near = get_close_matches(item, names, 1)
        hint = (
            f"; did you mean {near[0]!r}?" if near else f"; give one, or one of {', '.join(self.sets)} and suite.path"
        )
        raise BadInput(
            f"suite.collections: {item!r} is no directory" + (f", nor is {below}" if below is not None else "") + hint
        )

    def _directory(self, directory: Path) -> DataSet:
        name = directory.absolute().name
        shown = self.printed.get(name, name)
        if plain_or_gzip(directory / "corpus.jsonl") is not None or name not in self.parts:
            return DataSet(shown, {"": self._collection(directory)})
        absent = [part for part in self.parts[name] if not (directory / part).is_dir()]
        if absent:
            raise BadInput(
                f"{directory} is the mean of {len(self.parts[name])} collections, and {', '.join(absent)} "
                f"{'is' if len(absent) == 1 else 'are'} not there; add them, or name the others one by one"
            )
        return DataSet(shown, {part: self._collection(directory / part) for part in self.parts[name]})

    def _collection(self, directory: Path) -> Collection:
        return BeirCorpus(str(directory), [self.split], self.titles, list(TOLERATE))
