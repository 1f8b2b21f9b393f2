"""Queries and passages as a cross-encoder reads them: in its own word pieces, joined by its own special tokens.

A backbone with the encoder's tokenizer reads the prepared token stores. For any other (RetroMAE's code has DeBERTa-v3)
the texts are tokenised once more, in the same order, so that a row is the same text in either. Shapes: P pairs.
"""

import filecmp
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bmae_lightning.corpus.collection import Collection
from bmae_lightning.corpus.tokens.store import IDS, TokenStore, tokenise_once
from bmae_lightning.corpus.tokens.wordpiece import tokenizer_digest
from bmae_lightning.encoder.batch import Pairs, pad_pairs
from bmae_lightning.runtime.errors import BadInput

QUERIES, PASSAGES = "queries", "passages"


@dataclass(frozen=True)
class PairLayout:
    """`[CLS] query [SEP] passage [SEP]`, with `separators` [SEP] between the two (RoBERTa: 2)."""

    cls_id: int
    sep_id: int
    pad_id: int
    separators: int = 1


def pair_layout(tokenizer: Any, label: str) -> PairLayout:
    """How a tokenizer of transformers joins a pair.

    Args:
        label: what to call it in messages.

    Raises:
        BadInput: it joins a pair in another way than BERT's or RoBERTa's, or has no padding token.
    """
    ids = (tokenizer.cls_token_id, tokenizer.sep_token_id, tokenizer.pad_token_id)
    first, second = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in ("a", "b"))
    joined = tokenizer("a", "b")["input_ids"]
    for separators in (1, 2):
        if None not in ids and joined == [ids[0], *first, *[ids[1]] * separators, *second, ids[1]]:
            return PairLayout(*ids, separators)
    raise BadInput(
        f"{label}: its tokenizer writes a pair as {' '.join(tokenizer.convert_ids_to_tokens(joined))!r}; a re-ranker "
        "needs [CLS] query [SEP] passage [SEP] and a padding token, as the tokenizers of BERT, ELECTRA, DeBERTa and "
        "RoBERTa have"
    )


@dataclass(frozen=True)
class PairTexts:
    """Token stores of queries and passages, and how a pair of them is joined.

    Attributes:
        queries, passages: token stores whose rows are those of the prepared corpus.
        layout: how a pair is joined.
        title_id: the word piece that stands for the [SEP] between a passage's title and its text, None keeps it.
    """

    queries: TokenStore
    passages: TokenStore
    layout: PairLayout
    title_id: int | None = None

    def pairs(self, rows: Sequence[tuple[int, int]] | np.ndarray, length: int) -> Pairs:
        """The pairs (row of the query, row of the passage) [P], cut to `length` tokens each."""
        queries, passages = [self.queries[query] for query, _ in rows], [self.passages[passage] for _, passage in rows]
        if self.title_id is not None:
            passages = [np.where(ids == self.layout.sep_id, self.title_id, ids) for ids in passages]
        return pad_pairs(queries, passages, **vars(self.layout), max_length=length)

    def sizes(self, pairs_P2: np.ndarray) -> np.ndarray:
        """Tokens of every pair before it is cut, int64 [P]."""
        stores = zip((self.queries, self.passages), pairs_P2.T, strict=True)
        return sum(store.offsets[rows + 1] - store.offsets[rows] for store, rows in stores) + self.layout.separators + 2


def tokenise_again(
    source: Collection, tokenizer: Any, directory: Path, like: tuple[TokenStore, TokenStore], title: str
) -> tuple[TokenStore, TokenStore]:
    """Queries and passages of a collection in another tokenizer's word pieces; the first process writes them.

    Args:
        directory: where the stores lie; a killed run continues.
        like: the prepared stores of queries and passages.
        title: of the stage, for progress.

    Raises:
        BadInput: the collection is not the one that was prepared any more.
    """
    entries = {
        QUERIES: lambda: ((query.id, query.text) for query in source.queries()),
        PASSAGES: lambda: ((passage.id, passage.text_of(source.title)) for passage in source.passages()),
    }
    for (name, read), prepared in zip(entries.items(), like, strict=True):
        tokenise_once(directory / name, read, tokenizer, f"{title}: tokenising {name}", len(prepared))
    return tokenised_again(directory, tokenizer_digest(tokenizer), like)


def tokenised_again(directory: Path, digest: str, like: tuple[TokenStore, TokenStore]) -> tuple[TokenStore, TokenStore]:
    """What `tokenise_again` has made in `directory`.

    Args:
        digest: of the tokenizer.

    Raises:
        BadInput: nothing there, or the texts of another collection than `like`.
    """
    found = TokenStore(directory / QUERIES, digest), TokenStore(directory / PASSAGES, digest)
    for made, prepared in zip(found, like, strict=True):
        if not filecmp.cmp(made.directory / IDS, prepared.directory / IDS, shallow=False):
            raise BadInput(
                f"{made.directory} has other ids than {prepared.directory}, the collection has changed in between: "
                f"delete {directory.parent} and run the same command again"
            )
    return found
