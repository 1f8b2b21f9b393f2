"""The prepared corpus as later stages read it: tokenizer, token stores, texts, judgments."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bmae_lightning.corpus.collection import Collection
from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.encoder.tokenizer import load_tokenizer
from bmae_lightning.evaluation.measure.trec import read_qrels
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import MappedArray, read_json

ANSWERS = "answers.json"


class Prepared:
    """What the prepare stage wrote into `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.record = read_json(directory / "corpus.json")

    @property
    def splits(self) -> list[str]:
        return self.record["splits"]

    @property
    def tokenizer_directory(self) -> Path:
        return self.directory / "tokenizer"

    def tokenizer(self) -> Any:
        return load_tokenizer(self.tokenizer_directory)

    def passages(self) -> TokenStore:
        return TokenStore(self.directory / "passages")

    def queries(self) -> TokenStore:
        return TokenStore(self.directory / "queries")

    def order(self, stream: str) -> MappedArray:
        """The row of the text of every passage in one of `STREAMS`, -1 for none, int64 [passages].

        Raises:
            BadInput: the file is missing or damaged.
        """
        remedy = f"delete {self.directory} and run the prepare stage again"
        return MappedArray(self.directory / f"{stream}.npy", len(self.passages()), remedy)

    def source(self) -> Collection:
        """The texts, read again from where the stage read them."""
        return build(self.record["collection"], "corpus")

    def texts(self) -> Iterator[tuple[str, str]]:
        """(id, text with its title) of every passage, in the order of the store."""
        return ((passage.id, passage.content) for passage in self.source().passages())

    def passage_texts(self, ids: set[str]) -> dict[str, str]:
        """id -> text with its title of some passages; reads the collection as far as the last of them."""
        left, found = len(ids), {}
        for passage, text in self.texts() if left else ():
            if passage in ids:
                found[passage], left = text, left - 1
            if not left:
                break
        return found

    def qrels(self, split: str) -> dict[str, dict[str, int]]:
        """query id -> passage id -> relevance; a query of the split that has answers alone is there without passages.

        Raises:
            BadInput: no such split.
        """
        if split not in self.splits:
            raise BadInput(
                f"the corpus {self.record['name']} has no judgments for split {split!r}; "
                f"there is {', '.join(self.splits)}"
            )
        found = read_qrels(self.qrels_path(split))
        return found | {query: {} for query in self.answers(split) if query not in found}

    def qrels_path(self, split: str) -> Path:
        return self.directory / "qrels" / f"{split}.trec"

    def answers(self, split: str) -> dict[str, list[str]]:
        """Query id -> its accepted answers; empty where relevance is only judged."""
        path = self.directory / ANSWERS
        return read_json(path).get(split, {}) if path.is_file() else {}

    def query_texts(self, ids: set[str]) -> dict[str, str]:
        return {query.id: query.text for query in self.source().queries() if query.id in ids}
