"""A collection in files of your own names: passages, and for every split queries and judgments.

Files ending in .jsonl hold JSON objects, others tab-separated columns; each may be gzip. MS MARCO as it is published is
one YAML of this.
"""

from pathlib import Path
from typing import Any, NamedTuple

from bmae_lightning.corpus.collection import Collection
from bmae_lightning.corpus.json_lines import json_passages, json_queries, tab_passages, tab_queries
from bmae_lightning.corpus.lines import plain_or_gzip
from bmae_lightning.corpus.qrels_lines import FORMS, qrels_of
from bmae_lightning.corpus.records import Judgment, Passage, Query, Rules
from bmae_lightning.corpus.stream import Stream
from bmae_lightning.runtime.errors import BadInput

_SPLIT = {"queries", "qrels"}
_FORMS = " | ".join(FORMS.values())


class _Split(NamedTuple):
    queries: Path
    qrels: Path


class FileCorpus(Collection):
    """Reads files of a directory; wherever a file is named, a list names alternatives, of which the first is taken.

    path: the directory. passages: their file. splits: name -> {queries: file, qrels: file}; one whose files are both
    absent is left out; none: passages alone. columns: of passages with tabs; id and text are needed, title is
    used, other names are passed over. titles: file of ids and titles for passages with tabs, in the same order; needed
    unless title is "drop". untitled: what stands in the place of a missing title. described: where the formats are
    described, for messages. title, tolerate: as in `Rules`.

    Raises ValueError for what the options cannot be.
    """

    def __init__(
        self, path: str | None, passages: str | list[str], splits: dict[str, dict[str, str | list[str]]] | list | None,
        columns: list[str] = ("id", "text"), titles: str | list[str] | None = None, untitled: str = "",
        title: str = "prepend", tolerate: list[str] | None = None, described: str | None = None,
    ) -> None:  # fmt: skip
        self.rules = Rules(title, tuple(tolerate or ()))
        if not {"id", "text"} <= set(columns):
            raise ValueError(f"columns={list(columns)} must have id and text among them.")
        if titles and columns[0] != "id":
            raise ValueError(f"columns={list(columns)} must begin with id where titles are in a file of their own.")
        splits = dict(splits or {})
        for name, files in splits.items():
            if not isinstance(files, dict) or set(files) != _SPLIT:
                raise ValueError(f"splits.{name} must be {{queries: FILE, qrels: FILE}}, it is {files!r}.")
        self.path = None if path is None else Path(path).expanduser()
        self._passages, self._titles, self._columns = passages, titles, tuple(columns)
        self._splits, self._untitled, self._described = splits, untitled, described

    @property
    def name(self) -> str:
        return self._directory().absolute().name

    def options(self) -> dict[str, Any]:
        return {
            "path": str(self._directory().absolute()), "passages": self._passages, "splits": self._splits,
            "columns": list(self._columns), "titles": self._titles, "untitled": self._untitled, "title": self.title,
            "tolerate": list(self.rules.tolerate), "described": self._described,
        }  # fmt: skip

    def passages(self) -> Stream[Passage]:
        path, titles = self._passages_file(), self._titles_file()
        if _is_json(path) and titles:
            raise BadInput(f"{titles} cannot be joined with the JSON lines of {path.name}; use corpus.titles=null.")
        if _is_json(path):
            return json_passages(path, self.rules)
        return tab_passages(path, self._columns, self.rules, titles, self._untitled)

    def queries_of(self, split: str) -> Stream[Query]:
        path = self._found()[split].queries
        return json_queries(path) if _is_json(path) else tab_queries(path)

    def judgments(self, split: str) -> Stream[Judgment]:
        if split not in self._found():
            raise BadInput(f"split {split!r} is not in {self._directory()}; there are {', '.join(self._found())}.")
        return qrels_of(self._found()[split].qrels)

    def splits(self) -> list[str]:
        return list(self._found())

    def files(self) -> list[Path]:
        titles = [self._titles_file()] if self._titles_file() else []
        return [self._passages_file(), *titles, *(path for files in self._found().values() for path in files)]

    def _directory(self) -> Path:
        if self.path is None or not self.path.is_dir():
            what = "is not a directory" if self.path and self.path.exists() else "does not exist"
            raise self._lacking(f"{self.path} {what}" if self.path else "corpus.path is not given")
        return self.path

    def _passages_file(self) -> Path:
        path = self._first(self._passages)
        if path is None:
            raise self._lacking(f"{self.path} lacks the passages")
        return path

    def _titles_file(self) -> Path | None:
        """The file of titles, None where titles are in no file of their own or are dropped."""
        if self._titles is None or self.title == "drop":
            return None
        path = self._first(self._titles)
        if path is None:
            described = f", see {self._described}" if self._described else ""
            raise BadInput(
                f"{self.path} lacks {_or(self._titles)}, the titles (id<tab>title) that corpus.title={self.title} needs"
                f"{described}: put it there, or use corpus.title=drop, whose results do not compare with papers that "
                "have titles"
            )
        return path

    def _found(self) -> dict[str, _Split]:
        """The splits that are there."""
        found = {}
        for name, files in self._splits.items():
            queries, qrels = self._first(files["queries"]), self._first(files["qrels"])
            if bool(queries) != bool(qrels):
                missing = "qrels" if queries else "queries"
                raise self._lacking(
                    f"{self.path} has only one of the two files of the split {name}, the {missing} are missing"
                )
            if queries and qrels:
                found[name] = _Split(queries, qrels)
        if self._splits and not found:
            raise self._lacking(f"{self.path} has the files of no split (corpus.splits=null reads passages alone)")
        return found

    def _first(self, names: str | list[str]) -> Path | None:
        directory = self._directory()
        paths = (plain_or_gzip(directory / name) for name in _listed(names))
        return next((path for path in paths if path), None)

    def _lacking(self, what: str) -> BadInput:
        """The one message for a folder that is absent or incomplete: all the files that can be in it."""
        splits = ", ".join(f"{n} = {_or(f['queries'])} and {_or(f['qrels'])}" for n, f in self._splits.items())
        if splits:
            splits = f", and at least one split, its queries (id<tab>text) and judgments ({_FORMS}): {splits}"
        titles = f"; {_or(self._titles)} (id<tab>title) is not read with corpus.title=drop" if self._titles else ""
        described = f"; the formats are described at {self._described}" if self._described else ""
        return BadInput(
            f"{what}: give corpus.path=DIR with the passages, {_or(self._passages)} ({'<tab>'.join(self._columns)})"
            f"{splits}{titles}; every file plain or .gz, archives unpacked{described}"
        )


def _is_json(path: Path) -> bool:
    return path.name.removesuffix(".gz").endswith(".jsonl")


def _listed(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)


def _or(names: str | list[str]) -> str:
    return " or ".join(_listed(names))
