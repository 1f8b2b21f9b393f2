"""Word pieces of a run of consecutive texts, kept in a file so that a killed run continues behind it.

A file is named by what it was made from, its texts and its tokenizer: it is used again only for the same ones.
"""

import copy
import json
import zipfile
from collections.abc import Sequence
from hashlib import blake2b
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bmae_lightning.corpus.records import Text
from bmae_lightning.corpus.tokens.wordpiece import fast_backend, tokenizer_digest
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import write_arrays

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BATCH = 1024
"""Texts given to the tokenizer at a time, which it shares between all cores."""
UNSEEN = "\U0010ffff"
"""No character, so that no text holds it."""


class Pieces(NamedTuple):
    """lengths [rows] int64 and the ids of all rows one after another [their sum]."""

    lengths: np.ndarray
    tokens: np.ndarray


class ContentTokenizer:
    """How stores tokenise: untruncated, and names of special tokens are ordinary text.

    Nothing is added but a [SEP] between a title and its text, where neither is empty.

    tokenizer: a fast tokenizer, left unchanged.

    Attributes: `vocabulary_size`, `digest` (of the tokenizer), `dtype` of stored ids.
    """

    def __init__(self, tokenizer) -> None:
        self._backend = _ordinary(fast_backend(tokenizer))
        self._backend.no_truncation()
        self._backend.no_padding()
        self._sep = fast_backend(tokenizer).token_to_id(getattr(tokenizer, "sep_token", None) or "[SEP]")
        self.vocabulary_size: int = max(self._backend.get_vocab(with_added_tokens=True).values()) + 1
        self.digest = tokenizer_digest(tokenizer)
        self.dtype = stored_type(self.vocabulary_size)

    def encode(self, texts: Sequence[Text]) -> list[list[int]]:
        """The ids of every text."""
        parts = [part for text in texts for part in _parts(text)]
        found = (encoding.ids for encoding in self._backend.encode_batch_fast(parts, add_special_tokens=False))
        return [next(found) if isinstance(text, str) else self._joined(next(found), next(found)) for text in texts]

    def _joined(self, title: list[int], text: list[int]) -> list[int]:
        if not (title and text):
            return title or text
        if self._sep is None:
            raise BadInput("corpus.title=pair needs a tokenizer with a separator ([SEP]); use corpus.title=prepend")
        return [*title, self._sep, *text]

    def pieces(self, texts: Sequence[Text]) -> Pieces:
        """The ids of all texts, as a store keeps them."""
        lengths, parts = [], [np.empty(0, self.dtype)]
        for start in range(0, len(texts), BATCH):
            rows = self.encode(texts[start : start + BATCH])
            lengths += map(len, rows)
            parts.append(np.fromiter(chain.from_iterable(rows), self.dtype))
        return Pieces(np.array(lengths, dtype=np.int64), np.concatenate(parts))

    def pieces_kept(self, texts: Sequence[Text], directory: Path) -> Pieces:
        """As `pieces`, read from a file in `directory` if one is there and sound, else written into it."""
        path = directory / f"{self._name(texts)}.npz"
        if (made := _read(path)) is None:
            made = self.pieces(texts)
            write_arrays(path, lengths=made.lengths, tokens=made.tokens)
        return made

    def _name(self, texts: Sequence[Text]) -> str:
        content = blake2b(self.digest.encode(), digest_size=16)
        for text in texts:
            parts = [part.encode() for part in _parts(text)]
            for size in (len(parts), *map(len, parts)):
                content.update(size.to_bytes(8, "little"))
            content.update(b"".join(parts))
        return content.hexdigest()


def _ordinary(backend: "Tokenizer") -> "Tokenizer":
    """A copy to which names of special tokens are ordinary text.

    They are pieces of a Unigram model, with the best score of all, so that text would match them: there they change.
    """
    from tokenizers import Tokenizer

    if type(backend.model).__name__ == "Unigram":
        settings = json.loads(backend.to_str())
        special = [token for token in settings["added_tokens"] if token["special"]]
        names, model = {token["content"] for token in special}, settings["model"]
        model["vocab"] = [[UNSEEN * (piece in names) + piece, score] for piece, score in model["vocab"]]
        for token in special:
            token["content"] = UNSEEN + token["content"]
        made = Tokenizer.from_str(json.dumps(settings))
    else:
        made = copy.deepcopy(backend)
    made.encode_special_tokens = True
    return made


def _parts(text: Text) -> tuple[str, ...]:
    return (text,) if isinstance(text, str) else text


def stored_type(vocabulary_size: int) -> np.dtype:
    """The smallest type that holds all ids: uint16 below 65,536, else int32; little-endian."""
    return np.dtype(np.uint16 if vocabulary_size < 65536 else np.int32).newbyteorder("<")


def _read(path: Path) -> Pieces | None:
    """The pieces in a file, None where there is none or the disk lost a part of it."""
    try:
        with np.load(path, allow_pickle=False) as found:
            return Pieces(found["lengths"], found["tokens"])
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile):
        return None
