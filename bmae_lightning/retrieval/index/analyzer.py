"""How a text becomes the terms of BM25: stemmed words, and pairs of characters where no blank parts words.

Han, Kana, Thai, Lao, Khmer and Myanmar are written without blanks, so neighbouring characters are the terms, as in
Lucene's CJKAnalyzer. Hangul has blanks, but particles stick to its words, so a word is its pairs as well. A character
that stands alone is a term.
"""

from __future__ import annotations

import re
from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import chain, groupby, islice, pairwise

import numpy as np

from bmae_lightning.runtime.errors import BadInput

PAIRED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uaa60-\uaa7f\uac00-\ud7ff\uf900-\ufaff\uff66-\uff9f\U00020000-\U000323af"
)
MARKS = "\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670\u0900-\u0963\u0966-\u0dff"
"""Vowel signs of Hebrew, Arabic and the scripts of India, which `\\w` leaves out."""
END = "\0"
_RUN, _SPECIAL = re.compile(f"[{PAIRED}]+"), re.compile(f"[{PAIRED}{MARKS}]")
_SIMPLE = re.compile(rf"\w\w+|{END}")
_WORD = re.compile(rf"[\w{MARKS}]{{2,}}|{END}")
_PAIR_OR_WORD = re.compile(rf"[{PAIRED}]{{1,2}}|[\w{MARKS}]{{2,}}|{END}")
_BLANK = re.compile(rf"[^\s{END}]+|{END}")

LANGUAGES = (
    "english", "german", "dutch", "french", "spanish", "portuguese", "italian", "russian", "swedish", "norwegian",
    "danish", "turkish",
)  # fmt: skip
"""With a Snowball stemmer and a list of stop words in bm25s."""
PLAIN = {"auto": "by script, in the language of the first passages", "cjk": "pairs of characters",
         "words": "neither stemmed nor stopped", "whitespace": "split at blanks"}  # fmt: skip
SAMPLE = 1000
"""Passages by which `auto` tells the language."""
CHARACTERS = 1_000_000
"""Texts are split so many characters at a time."""
QUOTED = 0.1
"""Least share of such characters in a text of `auto`: an English one that quotes a name stays as \\w splits it."""
STOPPED, ENDED = -1, -2


class Analyzer:
    """Splits texts into terms and numbers the terms.

    Args:
        name: `auto`, `cjk`, `words`, `whitespace`, or the language of a Snowball stemmer.
        stemmer: language of a Snowball stemmer, null for none, `auto` for what the name says.
        stopwords: language of bm25s's list, null to keep every word, `auto` for what the name says.

    Raises:
        ValueError: a name that does not exist.
    """

    def __init__(self, name: str = "auto", stemmer: str | None = "auto", stopwords: str | None = "auto") -> None:
        Stemmer, _ = libraries()
        known = Stemmer.algorithms()
        if name not in PLAIN and name not in known:
            raise ValueError(f"analyzer {name!r} does not exist; choose one of {', '.join([*PLAIN, *known])}")
        if stemmer not in (None, "auto", *known):
            raise ValueError(f"stemmer {stemmer!r} does not exist; choose auto, null or one of {', '.join(known)}")
        if stopwords != "auto":
            stop_words(stopwords)
        self.name, self.stemmer, self.stopwords = name, stemmer, stopwords
        self.language = None if name in PLAIN else name

    def read(self, texts: Iterable[str]) -> Iterator[np.ndarray]:
        """Terms of passages, numbered anew from 0, in flat pieces: int32, every passage ends in a negative number."""
        texts = iter(texts)
        if self.name == "auto":
            sample = list(islice(texts, SAMPLE))
            self.language = language_of(sample)
            texts = chain(sample, texts)
        self.numbers = self._no_numbers()
        for piece in _pieces(texts):
            yield self.terms(piece)
        self.numbers.growing = False

    def _no_numbers(self) -> _Numbers:
        Stemmer, _ = libraries()
        stemmer = self.language if self.stemmer == "auto" else self.stemmer
        listed = self.language if self.language in LANGUAGES else None
        stopped = stop_words(listed if self.stopwords == "auto" else self.stopwords)
        return _Numbers(Stemmer.Stemmer(stemmer).stemWord if stemmer else str, stopped)

    def terms(self, texts: list[str]) -> np.ndarray:
        """Terms as `read` gives them; once all passages are read, what none of them has is left out."""
        text = END.join(texts)
        if text.count(END) >= len(texts):
            return self.terms([one.replace(END, " ") for one in texts])
        if self.name == "whitespace":
            return self._find(_BLANK, text)
        if text.isascii() or not _SPECIAL.search(text):
            return self._find(_SIMPLE, text)
        found = []
        for special, group in groupby(texts, self._special):
            text = END.join(group)
            if special and self.name in ("auto", "cjk"):
                found.append(self._find(_PAIR_OR_WORD, _RUN.sub(_pairs, text)))
            else:
                found.append(self._find(_WORD if special else _SIMPLE, text))
        return np.concatenate(found)

    def _special(self, text: str) -> bool:
        """Whether a text is written in one of the scripts for which `\\w` makes no words, and not only quotes it."""
        least = 1 if self.name == "cjk" else max(1, QUOTED * len(text))
        return not text.isascii() and len(_SPECIAL.findall(text)) >= least

    def _find(self, pattern: re.Pattern, joined: str) -> np.ndarray:
        """Numbers of the terms that a pattern finds in texts joined by `END`."""
        words = pattern.findall(f"{joined}{END}".lower())
        terms_T = np.frombuffer(array("i", map(self.numbers.__getitem__, words)), np.int32)
        return terms_T[terms_T != STOPPED]


class _Numbers(dict):
    """Word -> number of its stem; a stop word, and a word of no stem while it does not grow, has `STOPPED`."""

    def __init__(self, stem: Callable[[str], str], stopped: Iterable[str]) -> None:
        super().__init__(dict.fromkeys(stopped, STOPPED))
        self[END] = ENDED
        self.stem, self.stems, self.growing = stem, {}, True

    def __missing__(self, word: str) -> int:
        stem = self.stem(word)
        number = self.stems.setdefault(stem, len(self.stems)) if self.growing else self.stems.get(stem, STOPPED)
        self[word] = number
        return number


def language_of(texts: list[str]) -> str | None:
    """The language whose stop words are a seventh of the words and twice English's, else English for Latin letters.

    None where other letters prevail: their words are neither stemmed nor stopped.
    """
    words = Counter(_WORD.findall(" ".join(texts).lower()))
    letters = {
        sign: count for sign, count in Counter("".join(texts)).items() if sign.isalpha() and not _RUN.match(sign)
    }
    share = {
        language: sum(words[word] for word in set(stop_words(language))) / max(1, words.total())
        for language in LANGUAGES
    }
    best = max(LANGUAGES, key=share.__getitem__)
    if share[best] > max(1 / 7, 2 * share["english"]):
        return best
    latin = sum(count for letter, count in letters.items() if letter < "\u0250")
    return "english" if 2 * latin >= sum(letters.values()) else None


def stop_words(language: str | None) -> list[str]:
    """bm25s's list of a language; none for None."""
    _, bm25s = libraries()
    try:
        return list(bm25s.tokenization.Tokenizer(stopwords=language).stopwords)
    except ValueError as error:
        raise ValueError(f"stopwords {language!r} is no list of bm25s, use a language or null: {error}") from None


def _pairs(run: re.Match) -> str:
    characters = run[0]
    return f" {' '.join(map(''.join, pairwise(characters))) if len(characters) > 1 else characters} "


def _pieces(texts: Iterator[str]) -> Iterator[list[str]]:
    piece, size = [], 0
    for text in texts:
        piece.append(text)
        size += len(text)
        if size >= CHARACTERS:
            yield piece
            piece, size = [], 0
    if piece:
        yield piece


def libraries():
    """PyStemmer and bm25s.

    Raises:
        BadInput: one is not installed.
    """
    try:
        import bm25s
        import bm25s.tokenization
        import Stemmer
    except ImportError as error:
        raise BadInput(f"BM25 needs {error.name}; run: pip install bm25s PyStemmer") from error
    return Stemmer, bm25s
