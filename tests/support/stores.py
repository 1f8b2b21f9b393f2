"""Small token stores, with or without given content."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from bmae_lightning.corpus.tokens.store import TokenStore, TokenStoreWriter


def write_store(
    directory: Path, rows: Iterable[Sequence[int]], ids: str | Sequence[str] = "", vocabulary: int = 45,
    digest: str = "digest",
) -> TokenStore:  # fmt: skip
    """A store of these rows of word pieces; ids: of the texts, or what stands before their numbers."""
    with TokenStoreWriter(directory, vocabulary, digest) as writer:
        for number, row in enumerate(rows):
            writer.append(row, f"{ids}{number}" if isinstance(ids, str) else ids[number])
        return writer.commit()


def random_rows(sizes: Iterable[int], seed: int = 0, vocabulary: int = 45) -> list[np.ndarray]:
    """Rows of so many word pieces, none of them one of the first five (special) ones."""
    draw = np.random.default_rng(seed)
    return [draw.integers(5, vocabulary, size) for size in sizes]
