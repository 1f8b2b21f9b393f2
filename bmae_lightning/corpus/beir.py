"""A collection in BEIR layout: corpus.jsonl, queries.jsonl and qrels/<split>.tsv, each plain or gzip.

Everything is streamed.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bmae_lightning.corpus.collection import Collection, split_order
from bmae_lightning.corpus.json_lines import json_passages, json_queries
from bmae_lightning.corpus.lines import plain_or_gzip
from bmae_lightning.corpus.qrels_lines import qrels_of
from bmae_lightning.corpus.records import Judgment, Passage, Query, Rules
from bmae_lightning.corpus.stream import Stream
from bmae_lightning.runtime.checks import nearest
from bmae_lightning.runtime.errors import BadInput

HEADER = "query-id<tab>corpus-id<tab>score"


class BeirCorpus(Collection):
    """Reads a directory in BEIR layout.

    path: the directory. splits: the names of the qrels files to use, None for all that exist, none of them for the
    passages alone. title, tolerate: as in
    `Rules`.

    Raises ValueError for another `title` or `tolerate`.
    """

    def __init__(
        self, path: str, splits: list[str] | None = None, title: str = "prepend", tolerate: list[str] | None = None
    ):
        self.rules = Rules(title, tuple(tolerate or ()))
        self.path = Path(path).expanduser()
        self._requested = None if splits is None else list(splits)

    @property
    def name(self) -> str:
        return self.path.absolute().name

    def options(self) -> dict[str, Any]:
        return {
            "path": str(self.path.absolute()), "splits": self._requested, "title": self.title,
            "tolerate": list(self.rules.tolerate),
        }  # fmt: skip

    def passages(self) -> Stream[Passage]:
        """The passages in file order; doc_id and position come from `metadata` where present."""
        return json_passages(self._file("corpus.jsonl"), self.rules)

    def queries_of(self, split: str) -> Stream[Query]:
        return json_queries(self._file("queries.jsonl"))

    def queries(self) -> Iterable[Query]:
        """All queries in file order, of all splits; none without splits."""
        return self.queries_of("") if self.splits() else ()

    def judgments(self, split: str) -> Stream[Judgment]:
        """The judgments of one split in file order."""
        return qrels_of(self._qrels(split), (3,))

    def splits(self) -> list[str]:
        """The requested splits, or all that have a qrels file: train, dev, test first, then by name.

        Raises BadInput if there is none, or if a requested one does not exist (naming those that do).
        """
        directory = self._directory() / "qrels"
        if self._requested == []:
            return []
        names = {
            file.name.removesuffix(".gz").removesuffix(".tsv") for file in directory.glob("*.tsv*") if file.is_file()
        }
        names = sorted((n for n in names if plain_or_gzip(directory / f"{n}.tsv")), key=split_order)
        if not names:
            raise BadInput(
                f"{directory} holds no <split>.tsv: a query set without judgments cannot train or test a retriever; "
                f"add e.g. qrels/test.tsv with the columns {HEADER}, or read passages alone (corpus.splits=[])."
            )
        for name in self._requested or []:
            if name not in names:
                hint = nearest(name, names, otherwise="; choose among them or add the file.")
                raise BadInput(f"split {name!r} is not in {directory}, which holds {', '.join(names)}{hint}")
        return names if self._requested is None else list(self._requested)

    def files(self) -> list[Path]:
        """The files this collection is read from: corpus, and with `splits` queries and their qrels."""
        names = ["corpus.jsonl", "queries.jsonl"] if self.splits() else ["corpus.jsonl"]
        return [*map(self._file, names), *map(self._qrels, self.splits())]

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
