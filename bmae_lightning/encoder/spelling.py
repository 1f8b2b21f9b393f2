"""How the pieces of a tokenizer make words: WordPiece, byte-level BPE and SentencePiece.

WordPiece marks a piece that continues a word, the other two one that follows a blank, so that a piece without a mark
may continue a word or stand behind punctuation. Where the marks do not say it, words end as BERT's basic tokenizer ends
them, at punctuation and around characters of scripts that are written without blanks; Japanese syllables, Thai, Lao,
Tibetan, Burmese and Khmer are such scripts too. Shapes: V vocabulary.
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from bmae_lightning.corpus.statistics.words import CLOSED, CONTINUES

if TYPE_CHECKING:
    from tokenizers import Tokenizer

BLANK = "▁"
BYTE = re.compile("<0x([0-9A-F]{2})>")
UNSPACED = re.compile(
    "[\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\u2fff\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf"
    "\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\uffff\U00020000-\U0003fffd]"
)
SYMBOLS = frozenset("$+<=>^`|~")
"""What is ASCII, no punctuation to Unicode, and punctuation to BERT."""


class Spelling(NamedTuple):
    """texts: of each piece, with a blank where its mark is one, empty for what is no text by itself.

    joint_V: uint8, see `WordRules`.  spelling_V: int64, the first id of the same text but for the blank.
    """

    texts: list[str]
    joint_V: np.ndarray
    spelling_V: np.ndarray


def word_pieces(tokens: Sequence[str], prefix: str) -> Spelling:
    """The spelling of a WordPiece vocabulary whose continuing pieces begin with `prefix`."""
    texts = ["" if token.startswith(prefix) else token for token in tokens]
    joint_V = np.array([CONTINUES * token.startswith(prefix) for token in tokens], np.uint8)
    return Spelling(texts, joint_V, np.arange(len(tokens)))


def marked_pieces(tokens: Sequence[str], special: set[str], backend: Tokenizer) -> Spelling | None:
    """The spelling of pieces that mark a blank before them; None for any others.

    special: tokens that are no text: each is a word of its own.
    """
    if "ByteLevel" in repr(backend.pre_tokenizer):
        read = _byte_reader({token.content for token in backend.get_added_tokens_decoder().values()})
    elif "Metaspace" in f"{backend.pre_tokenizer!r} {backend.decoder!r}" or BLANK in repr(backend.decoder):
        read = _blank_reader
    else:
        return None
    texts, joints, spelling, first = [], [], [], {}
    for index, token in enumerate(tokens):
        raw = b"" if token in special else read(token)
        text, whole = _shown(raw)
        texts.append(text if whole else "")
        joints.append(_joint(raw, text, whole))
        spelling.append(first.setdefault(raw.strip(b" "), index) if raw else index)
    return Spelling(texts, np.array(joints, np.uint8), np.array(spelling))


def _byte_reader(added: set[str]) -> Callable[[str], bytes]:
    from transformers.convert_slow_tokenizer import bytes_to_unicode

    byte_of = {character: byte for byte, character in bytes_to_unicode().items()}

    def read(token: str) -> bytes:
        plain = token in added or not byte_of.keys() >= set(token)
        return token.encode() if plain else bytes(map(byte_of.__getitem__, token))

    return read


def _blank_reader(token: str) -> bytes:
    byte = BYTE.fullmatch(token)
    return bytes([int(byte[1], 16)]) if byte else token.replace(BLANK, " ").encode()


def _shown(raw: bytes) -> tuple[str, bool]:
    """The text of some bytes, and whether no character is cut.

    A character cut at its end is filled up to one of its neighbours, which is of the same script as a rule.
    """
    start = raw.lstrip(bytes(range(0x80, 0xC0)))
    for missing in range(4):
        try:
            return (start + b"\xbf" * missing).decode(), not missing and start == raw
        except UnicodeDecodeError:
            pass
    return start.decode(errors="replace"), False


def _joint(raw: bytes, text: str, whole: bool) -> int:
    if not raw:
        return CLOSED
    inside = 0x80 <= raw[0] < 0xC0  # of a character
    ends = text != " " and bool(text) and _breaks(text[-1]) and (whole or raw.endswith(text[-1].encode()))
    return CONTINUES * (inside or not _breaks(text[0])) + CLOSED * ends


@functools.cache
def _breaks(character: str) -> bool:
    """Whether a word ends before and behind a character."""
    return (
        character.isspace()
        or character in SYMBOLS
        or unicodedata.category(character).startswith("P")
        or UNSPACED.match(character) is not None
    )
