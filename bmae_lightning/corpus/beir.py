"""A collection in BEIR layout: corpus.jsonl, queries.jsonl and qrels/<split>.tsv, each plain or gzip.

Everything is streamed; only `check` keeps the ids (about 100 bytes each, 0.9 GB for 8.8 million). It holds no equation.
"""

import re
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from bmae_lightning.corpus.collection import Collection
from bmae_lightning.corpus.lines import BrokenLine, FirstProblem, as_object, as_text, plain_or_gzip, raw_lines
from bmae_lightning.corpus.records import Counts, Judgment, Passage, Query
from bmae_lightning.errors import BadInput

TITLE_CHOICES = ("prepend", "drop")
HEADER = "query-id<tab>corpus-id<tab>score"
_USUAL_ORDER = {"train": 0, "dev": 1, "validation": 2, "test": 3}
_INTEGER = re.compile(r"[+-]?\d+")


class BeirCorpus(Collection):
    """Reads a directory in BEIR layout.

    path: the directory. splits: the names of the qrels files to use, None for all that exist. title: "prepend" keeps
    the passages' titles (`Passage.content` puts them in front of the text), "drop" empties them, as MS MARCO wants.

    Raises ValueError for another `title`. The methods raise BadInput for anything wrong in the files.
    """

    def __init__(self, path: str, splits: list[str] | None = None, title: str = "prepend"):
        if title not in TITLE_CHOICES:
            raise ValueError(f"title={title!r} is not known; use one of {', '.join(TITLE_CHOICES)}.")
        self.path = Path(path).expanduser()
        self.title = title
        self._requested = None if splits is None else list(splits)

    @property
    def name(self) -> str:
        return self.path.absolute().name

    def options(self) -> dict[str, Any]:
        return {"path": str(self.path.absolute()), "splits": self._requested, "title": self.title}

    def passages(self) -> Iterator[Passage]:
        """Yields the passages in file order; doc_id and position come from `metadata` where present."""
        path = self._file("corpus.jsonl")
        for number, line in raw_lines(path):
            yield self._passage(path, number, line)

    def queries(self) -> Iterator[Query]:
        """Yields all queries in file order, of all splits."""
        path = self._file("queries.jsonl")
        for number, line in raw_lines(path):
            yield self._query(path, number, line)

    def judgments(self, split: str) -> Iterator[Judgment]:
        """Yields the judgments of one split in file order."""
        path = self._qrels(split)
        for number, line in _qrels_lines(path):
            yield _judgment(path, number, line)

    def splits(self) -> list[str]:
        """The requested splits, or all that have a qrels file: train, dev, test first, then by name.

        Raises BadInput if there is none, or if a requested one does not exist (naming those that do).
        """
        directory = self._directory() / "qrels"
        names = {
            file.name.removesuffix(".gz").removesuffix(".tsv") for file in directory.glob("*.tsv*") if file.is_file()
        }
        names = sorted((n for n in names if plain_or_gzip(directory / f"{n}.tsv")), key=_split_order)
        if not names:
            raise BadInput(
                f"{directory} holds no <split>.tsv: a query set without judgments cannot train or test a retriever; "
                f"add e.g. qrels/test.tsv with the columns {HEADER}."
            )
        for name in self._requested or []:
            if name not in names:
                near = get_close_matches(name, names, 1)
                hint = f"; did you mean {near[0]!r}?" if near else "; choose among them or add the file."
                raise BadInput(f"split {name!r} is not in {directory}, which holds {', '.join(names)}{hint}")
        if self._requested is not None and not self._requested:
            raise BadInput(f"an empty list of splits was asked for; name some of {', '.join(names)}, or null for all.")
        return names if self._requested is None else list(self._requested)

    def check(self) -> Counts:
        """Streams every file once and returns what it holds.

        Raises one BadInput for the first problem found, which names file, line and remedy, and says how many lines
        of the same file have the same kind of problem.
        """
        splits = self.splits()
        corpus, queries = self._file("corpus.jsonl"), self._file("queries.jsonl")
        passage_ids, words = self._check_records(corpus, self._passage)
        query_ids, _ = self._check_records(queries, self._query)
        judgments = {split: self._check_qrels(split, query_ids, passage_ids) for split in splits}
        return Counts(len(passage_ids), len(query_ids), judgments, words)

    def files(self) -> list[Path]:
        """The files this collection is read from: corpus, queries, and the qrels of `splits`."""
        return [self._file("corpus.jsonl"), self._file("queries.jsonl"), *(self._qrels(s) for s in self.splits())]

    def _directory(self) -> Path:
        if not self.path.is_dir():
            what = "is not a directory" if self.path.exists() else "does not exist"
            raise BadInput(
                f"{self.path} {what}; give a directory in BEIR layout (corpus.jsonl, queries.jsonl, qrels/)."
            )
        return self.path

    def _file(self, name: str) -> Path:
        path = plain_or_gzip(self._directory() / name)
        if path is None:
            raise BadInput(f"{self.path / name} (or {name}.gz) is missing; a BEIR directory needs it.")
        return path

    def _qrels(self, split: str) -> Path:
        path = plain_or_gzip(self._directory() / "qrels" / f"{split}.tsv")
        if path is None:
            raise BadInput(
                f"split {split!r} has no {self.path / 'qrels' / split}.tsv; there are {', '.join(self.splits())}."
            )
        return path

    def _passage(self, path: Path, number: int, line: bytes) -> Passage:
        record = as_object(path, number, line)
        id, text = _id(path, number, record), _text(path, number, record)
        title = record.get("title") or ""
        if not isinstance(title, str):
            message = f'"title" of {id!r} is a {type(title).__name__}; make it a string or leave it out.'
            raise BrokenLine(path, number, "title", message)
        if not text.strip() and not (title.strip() and self.title == "prepend"):
            remedy = 'its title is dropped, keep it with title="prepend"' if title.strip() else "remove the line"
            raise BrokenLine(path, number, "empty", f"passage {id!r} has no text: {remedy} or add the text.")
        metadata = record.get("metadata")
        metadata = metadata if isinstance(metadata, dict) else {}
        doc_id, position = metadata.get("doc_id"), metadata.get("position")
        return Passage(
            id,
            title.strip() if self.title == "prepend" else "",
            text.strip(),
            None if doc_id is None else str(doc_id),
            position if type(position) is int else None,
        )

    def _query(self, path: Path, number: int, line: bytes) -> Query:
        record = as_object(path, number, line)
        id, text = _id(path, number, record), _text(path, number, record)
        if not text.strip():
            raise BrokenLine(path, number, "empty", f"query {id!r} has no text: remove the line or add the text.")
        return Query(id, text.strip())

    def _check_records(self, path: Path, parse) -> tuple[set[str], int]:
        ids: set[str] = set()
        words, problems = 0, FirstProblem()
        for number, line in raw_lines(path):
            try:
                record = parse(path, number, line)
                if record.id in ids:
                    message = (
                        f"id {record.id!r} was used before in this file; ids must be unique, remove or rename one."
                    )
                    raise BrokenLine(path, number, "duplicate", message)
            except BrokenLine as problem:
                problems.add(problem)
                continue
            ids.add(record.id)
            words += len(record.text.split()) + (len(record.title.split()) if isinstance(record, Passage) else 0)
        problems.raise_if_any()
        if not ids:
            raise BadInput(f"{path} is empty; it needs one JSON object a line.")
        return ids, words

    def _check_qrels(self, split: str, query_ids: set[str], passage_ids: set[str]) -> int:
        path, problems = self._qrels(split), FirstProblem()
        seen: dict[tuple[str, str], int] = {}
        for number, line in _qrels_lines(path):
            try:
                query_id, passage_id, relevance = _judgment(path, number, line)
                for id, known, file in (
                    (query_id, query_ids, "queries.jsonl"),
                    (passage_id, passage_ids, "corpus.jsonl"),
                ):
                    if id not in known:
                        message = f"{id!r} is not an id of {file}; remove the line, or add the record to {file}."
                        raise BrokenLine(path, number, f"unknown in {file}", message)
                if seen.setdefault((query_id, passage_id), relevance) != relevance:
                    message = (
                        f"{query_id!r} and {passage_id!r} were judged before with another score; keep one of the lines."
                    )
                    raise BrokenLine(path, number, "contradiction", message)
            except BrokenLine as problem:
                problems.add(problem)
        problems.raise_if_any()
        if not any(relevance > 0 for relevance in seen.values()):
            what = "only scores of 0 or less" if seen else "no judgments"
            raise BadInput(
                f"{path} has {what}: its queries can neither train nor test a retriever; "
                f"add lines {HEADER}, or leave the split out (splits=[...])."
            )
        return len(seen)


def _split_order(name: str) -> tuple[int, str]:
    return _USUAL_ORDER.get(name, len(_USUAL_ORDER)), name


def _id(path: Path, number: int, record: dict) -> str:
    id = record.get("_id")
    if isinstance(id, int) and not isinstance(id, bool):
        return str(id)
    if id is None:
        near = get_close_matches("_id", list(record), 1)
        hint = f" (is {near[0]!r} meant?)" if near else ""
        raise BrokenLine(path, number, "id", f'has no "_id"{hint}; give every record a unique string.')
    if not isinstance(id, str):
        raise BrokenLine(path, number, "id", f'"_id" is the {type(id).__name__} {id!r}; make it a string.')
    if id.split() != [id]:
        message = f'"_id" {id!r} is empty or holds white space, which run and qrels files cannot hold; rename it.'
        raise BrokenLine(path, number, "id", message)
    return id


def _text(path: Path, number: int, record: dict) -> str:
    text = record.get("text")
    if not isinstance(text, str):
        what = "has no" if text is None else f"has the {type(text).__name__} {text!r} as"
        raise BrokenLine(path, number, "text", f'record {record["_id"]!r} {what} "text"; give it a string.')
    return text


def _qrels_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    for index, (number, line) in enumerate(raw_lines(path)):
        if (
            index == 0
            and re.split(rb"[-_\s]", line.lower())[0] in (b"query", b"qid")
            and line.lower().endswith(b"score")
        ):
            continue
        yield number, line


def _judgment(path: Path, number: int, line: bytes) -> Judgment:
    fields = [field.strip() for field in as_text(path, number, line).split("\t")]
    if len(fields) != 3 or not all(fields):
        message = f"has {len(fields)} tab-separated columns" if len(fields) != 3 else "has an empty column"
        raise BrokenLine(path, number, "columns", f"{message}; a qrels line is {HEADER}.")
    if not _INTEGER.fullmatch(fields[2]):
        message = f"the score {fields[2]!r} is not an integer; write 1 for relevant, 0 for not relevant, or a grade."
        raise BrokenLine(path, number, "score", message)
    return Judgment(fields[0], fields[1], int(fields[2]))
