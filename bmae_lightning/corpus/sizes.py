"""How large a collection is, as far as that can be told at once: as published, else from its files."""

import math
from itertools import islice
from pathlib import Path
from typing import Any

from bmae_lightning.corpus.builtin.collection import BuiltinCorpus
from bmae_lightning.corpus.collection import Collection
from bmae_lightning.corpus.doctor import PIECES_PER_WORD
from bmae_lightning.corpus.stream import Stream
from bmae_lightning.runtime.cost import Sizes

SAMPLE = 1000
"""Passages whose words are counted."""
LARGE = 2**30
"""Bytes of a file of judgments above which it is not read for an estimate."""


def known_sizes(collection: Collection | BuiltinCorpus, expected: dict[str, Any] | None = None) -> Sizes:
    """expected: published counts (`corpus.expected`), which go before those of the files."""
    if isinstance(collection, BuiltinCorpus):
        return Sizes(queries=dict.fromkeys(collection.splits(), math.nan))
    expected = expected or collection.published()
    passages, splits = expected.get("passages"), expected.get("splits") or {}
    queries = {split: (splits.get(split) or {}).get("queries") for split in collection.splits()}
    source, pieces = "as published", math.nan
    if not collection.downloads():
        words = [len(passage.content.split()) for passage in islice(collection.passages(), SAMPLE)]
        pieces = 2 + PIECES_PER_WORD * sum(words) / max(1, len(words))
        if passages is None:
            passages, source = sum(1 for _ in collection.passages().rows()), "counted in the files"
        queries = {split: _judged(collection, split) if count is None else count for split, count in queries.items()}
    unknown = {split: math.nan if count is None else count for split, count in queries.items()}
    return Sizes(math.nan if passages is None else passages, pieces, unknown, source)


def _judged(collection: Collection, split: str) -> float:
    stream: Stream = collection.judgments(split)
    if isinstance(stream.source, Path) and stream.source.stat().st_size > LARGE:
        return math.nan
    return len({judgment.query_id for judgment in stream})
