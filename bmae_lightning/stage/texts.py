"""The texts of a collection as rankers read them, tokenised once for each tokenizer."""

from collections.abc import Iterator
from functools import cached_property
from hashlib import sha256
from pathlib import Path

from bmae_lightning.corpus.collection import Collection
from bmae_lightning.corpus.records import Text
from bmae_lightning.corpus.tokens.store import TokenStore, tokenise_once
from bmae_lightning.corpus.tokens.wordpiece import tokenizer_digest
from bmae_lightning.encoder.tokenizer import load_tokenizer
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.stage.rank import Search


class Texts:
    """The passages and queries of one collection as several rankers read them; every tokenizer reads them once.

    Args:
        collection: what is ranked.
        directory: where token stores are made.
        made: a token store of the passages that is there already.
    """

    def __init__(self, collection: Collection, directory: Path, made: TokenStore | None = None) -> None:
        self.collection, self.directory, self.made = collection, directory, made

    @cached_property
    def count(self) -> int:
        """Passages; the first look at it reads the collection, so that a broken line is found before any work."""
        return len(self.made) if self.made is not None else self.collection.check().passages

    def contents(self) -> Iterator[tuple[str, str]]:
        """(id, text with its title) of every passage."""
        return ((passage.id, passage.content) for passage in self.collection.passages())

    def queries(self, search: Search) -> dict[str, str]:
        """Query id -> text, in the order of the collection.

        Raises:
            BadInput: a judged query without text.
        """
        wanted = set(search.queries)
        texts = {query.id: query.text for query in self.collection.queries() if query.id in wanted}
        if absent := [query for query in search.queries if query not in texts]:
            more = f" and {len(absent) - 1:,} more" if len(absent) > 1 else ""
            raise BadInput(
                f"{self.collection.name}: query {absent[0]!r}{more} is judged but not among the queries; add it, or "
                "remove its judgments"
            )
        return texts

    def tokens(self, tokenizer_directory: Path, prefix: str, title: str) -> TokenStore:
        """Token ids of all passages behind `prefix`; the first process writes them."""
        tokenizer = load_tokenizer(tokenizer_directory)
        digest = tokenizer_digest(tokenizer)
        if self.made is not None and not prefix and self.made.tokenizer_digest == digest:
            return self.made

        def entries() -> Iterator[tuple[str, Text]]:
            for passage in self.collection.passages():
                text = passage.text_of(self.collection.title)
                yield passage.id, prefix + text if isinstance(text, str) else (prefix + text[0], text[1])

        return tokenise_once(self._directory(digest, prefix), entries, tokenizer, f"{title}: tokenising", self.count)

    def query_tokens(self, tokenizer_directory: Path, prefix: str, search: Search, title: str) -> TokenStore:
        """Token ids of the queries of a search behind `prefix`, in the order of the collection."""
        tokenizer, queries = load_tokenizer(tokenizer_directory), self.queries(search)
        directory = self._directory(tokenizer_digest(tokenizer), prefix, f"-{search.split}")

        def entries() -> Iterator[tuple[str, Text]]:
            return ((id, prefix + text) for id, text in queries.items())

        return tokenise_once(directory, entries, tokenizer, f"{title}: tokenising {search.split}", len(queries))

    def _directory(self, digest: str, prefix: str, end: str = "") -> Path:
        return self.directory / (sha256(f"{digest} {prefix}".encode()).hexdigest()[:12] + end)
