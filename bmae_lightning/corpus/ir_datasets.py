"""A published collection by its name in the ir_datasets library, `msmarco-passage` or `beir/scifact`.

The library downloads it once. One process at a time does so; the others wait for a lock beside the library's cache
(IR_DATASETS_HOME, ~/.ir_datasets).
"""

import os
from collections.abc import Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path
from types import ModuleType
from typing import Any

from bmae_lightning.corpus.collection import Collection, split_order
from bmae_lightning.corpus.records import Judgment, Passage, Query, Rules, make_query
from bmae_lightning.corpus.stream import Stream
from bmae_lightning.runtime.checks import nearest
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.process import locked

_FAILURES = (OSError, RuntimeError, ValueError, AssertionError, EOFError)
"""What the library raises where a download fails, is cut short or has another checksum; requests raises OSErrors."""


class IrDatasetsCorpus(Collection):
    """Reads a collection through ir_datasets.

    name: dataset id that has the documents. splits: our name of a split -> dataset id with its queries and judgments;
    None: every `name/SPLIT` with judgments, or `name` itself as `test`; an empty list: passages alone. title,
    tolerate: as in `Rules`.

    Raises ValueError for another `title` or `tolerate`. Nothing is fetched before texts or judgments are asked for.
    """

    def __init__(
        self, name: str, splits: dict[str, str] | list | None = None, title: str = "prepend",
        tolerate: list[str] | None = None,
    ) -> None:  # fmt: skip
        self.rules = Rules(title, tuple(tolerate or ()))
        self._name, self._splits = name, splits

    @property
    def name(self) -> str:
        return self._name

    def options(self) -> dict[str, Any]:
        tolerate = list(self.rules.tolerate)
        return {"name": self._name, "splits": self._splits, "title": self.title, "tolerate": tolerate}

    def passages(self) -> Stream[Passage]:
        return Stream(f"{self._name} docs", partial(self._rows, self._name, "docs"), self._passage)

    def has_documents(self) -> bool:
        """They never say; nothing is fetched to tell."""
        return False

    def queries_of(self, split: str) -> Stream[Query]:
        id = self._ids()[split]
        return Stream(f"{id} queries", partial(self._rows, id, "queries"), _query)

    def judgments(self, split: str) -> Stream[Judgment]:
        if split not in self._ids():
            raise BadInput(f"split {split!r} is not one of {self._name}; there are {', '.join(self._ids())}.")
        id = self._ids()[split]
        return Stream(f"{id} qrels", partial(self._rows, id, "qrels"), _judgment)

    def splits(self) -> list[str]:
        return list(self._ids())

    def files(self) -> list[Path]:
        """None of its own: the library keeps and verifies them."""
        return []

    def downloads(self) -> list[str]:
        return list(dict.fromkeys([self._name, *self._ids().values()]))

    def identity(self) -> str:
        """The ids of the datasets and the library's version, whose checksums the downloads must have."""
        return f"ir_datasets {library().__version__}: {self._name} {self._ids()}"

    def published(self) -> dict[str, Any]:
        """The counts that the library knows."""
        splits = {
            split: {"queries": self._count(id, "queries"), "judgments": self._count(id, "qrels")}
            for split, id in self._ids().items()
        }
        return {"passages": self._count(self._name, "docs"), "splits": splits}

    def _count(self, id: str, kind: str) -> int | None:
        return self._dataset(id).metadata().get(kind, {}).get("count")

    def _ids(self) -> dict[str, str]:
        """Split -> dataset id; raises BadInput for an unknown one, or one without judgments."""
        ids = dict(self._splits) if self._splits is not None else self._known_splits()
        for split, id in ids.items():
            if not (self._dataset(id).has_qrels() and self._dataset(id).has_queries()):
                raise BadInput(
                    f"corpus.splits.{split}: the dataset {id!r} of ir_datasets has no judgments; name another."
                )
        if not ids and self._splits is None:
            raise BadInput(
                f"corpus.name={self._name}: no split with judgments is known; name datasets in corpus.splits."
            )
        return ids

    def _known_splits(self) -> dict[str, str]:
        whole = self._dataset(self._name)
        if not whole.has_docs():
            raise BadInput(
                f"corpus.name={self._name}: that dataset of ir_datasets has no documents; name one that has."
            )
        found = {"test": self._name} if whole.has_qrels() else {}
        for id in library().registry:
            part = id.removeprefix(f"{self._name}/")
            if id != part and "/" not in part:
                dataset = self._dataset(id)
                if dataset.has_qrels() and dataset.has_docs() and dataset.docs_handler() == whole.docs_handler():
                    found[part] = id
        return {split: found[split] for split in sorted(found, key=split_order)}

    def _dataset(self, id: str) -> Any:
        try:
            return library().load(id)
        except KeyError:
            hint = nearest(id, library().registry, otherwise="")
            raise BadInput(
                f"{id!r} is no dataset of ir_datasets {library().__version__}{hint} (all of them: "
                "https://ir-datasets.com)."
            ) from None

    def _passage(self, source: str, number: int, doc: Any) -> Passage:
        title = getattr(doc, "title", "") if hasattr(doc, "text") else ""
        return self.rules.passage(source, number, doc.doc_id, title or "", _text(doc))

    def _rows(self, id: str, kind: str) -> Iterator[tuple[int, Any]]:
        """The library's records, fetched first where they are not there yet."""
        try:
            records = iter(getattr(self._dataset(id), f"{kind}_iter")())
            lock = library().util.home_path() / "bmae_lightning.lock"  # the library has none of its own
            with locked(lock, f"another process fetches a collection ({lock}); waiting for it"):
                first = list(islice(records, 1))
            yield from enumerate(chain(first, records), start=1)
        except _FAILURES as error:
            what = " ".join(str(error).split())[:120]
            raise BadInput(
                f"ir_datasets cannot read the {kind} of {id} ({type(error).__name__}: {what}): the first time it "
                "needs a network connection, or IR_DATASETS_HOME=DIR with what another machine fetched; for your own "
                "files use corpus=msmarco (which says what files), corpus=beir or corpus=files with corpus.path=DIR."
            ) from error


def library() -> ModuleType:
    """ir_datasets, imported where it is used. Raises BadInput where it is not installed."""
    try:
        import ir_datasets
    except ImportError as error:
        raise BadInput(
            f"corpus=ir_datasets needs the library ir_datasets ({error}): pip install 'bmae_lightning[collections]'."
        ) from error
    temporary = ir_datasets.util.home_path() / "tmp"  # the library's own is shared by all users
    os.environ.setdefault("IR_DATASETS_TMP", str(temporary))
    return ir_datasets


def _query(source: str, number: int, query: Any) -> Query:
    return make_query(source, number, query.query_id, _text(query))


def _judgment(source: str, number: int, qrel: Any) -> Judgment:
    return Judgment(qrel.query_id, qrel.doc_id, int(qrel.relevance))


def _text(record: Any) -> str:
    return record.text if hasattr(record, "text") else record.default_text()
