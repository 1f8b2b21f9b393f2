"""What a collection will take on disk, estimated from its counted words and a sample of its passages."""

from collections.abc import Iterable
from itertools import islice
from typing import NamedTuple

from bmae_lightning.corpus.records import Counts, Passage
from bmae_lightning.corpus.tokens.tokenise import ContentTokenizer

SAMPLE = 2000
"""Passages that are tokenised for the estimate."""
WIDTH = 768
"""Of the vectors whose size is told: that of the base models of the papers."""


class SizeEstimate(NamedTuple):
    """What passages take.

    word_pieces: of all passages, about.  store: bytes of their token store, about.  vectors: bytes of float32 vectors
    of `WIDTH` numbers, exactly.
    """

    passages: int
    word_pieces: int
    store: int
    vectors: int

    def __str__(self) -> str:
        return (
            f"about {self.word_pieces / 1e6:,.1f} million word pieces, {gigabytes(self.store)} as a token store (twice "
            f"that until it is complete); vectors of {WIDTH} numbers will take {gigabytes(self.vectors)}"
        )


def estimate(passages: Iterable[Passage], counts: Counts, tokenizer) -> SizeEstimate:
    """passages: the collection's, of which the first `SAMPLE` are read.  counts: of the whole collection."""
    content, sample = ContentTokenizer(tokenizer), list(islice(passages, SAMPLE))
    words = sum(len(passage.content.split()) for passage in sample)
    pieces = len(content.pieces([passage.content for passage in sample]).tokens)
    id_bytes = sum(len(passage.id.encode()) + 1 for passage in sample) / max(1, len(sample))
    word_pieces = round(counts.words * pieces / max(1, words))
    store = word_pieces * content.dtype.itemsize + round(counts.passages * (8 + id_bytes))
    return SizeEstimate(counts.passages, word_pieces, store, counts.passages * WIDTH * 4)


def gigabytes(size: int) -> str:
    """Bytes as people read them: 27.2 GB, below a gigabyte 13.4 MB."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"
