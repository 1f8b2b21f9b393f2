"""Rebuilt passages word by word: which words the encoder did not see, and which of them each decoder found again.

Words are compared by place where the texts have equally many, else along their longest common runs.
"""

from difflib import SequenceMatcher
from typing import NamedTuple

from bmae_lightning.report.content import Sample


class Line(NamedTuple):
    """One line of a sample: its label, a count beside it, and (word, tag of HTML or "") of every word."""

    label: str
    count: str
    words: list[tuple[str, str]]


def hidden_words(original: list[str], masked: list[str]) -> set[int]:
    """Indices of the words of `original` that `masked` does not show at their place."""
    return set(range(len(original))) - set(_agreeing(original, masked))


def sample_lines(sample: Sample) -> list[Line]:
    """The original, what the encoder saw, one line per decoder.

    In the encoder's line `mark` is what replaces a word; in a decoder's, `ins` is a hidden word found again and `del` a
    word that is not the original's.
    """
    original, masked = sample.original.split(), sample.masked.split()
    hidden = hidden_words(original, masked)
    shown = set(_agreeing(masked, original))
    lines = [Line("original", "", [(word, "") for word in original])]
    lines.append(Line("encoder saw", "", [(w, "" if i in shown else "mark") for i, w in enumerate(masked)]))
    for name, text in sample.rebuilt.items():
        words = text.split()
        agreeing = _agreeing(words, original)
        kinds = ["del" if i not in agreeing else "ins" if agreeing[i] in hidden else "" for i in range(len(words))]
        found = len({agreeing[i] for i in agreeing} & hidden)
        count = f"{found} of {len(hidden)} hidden words" if hidden else ""
        lines.append(Line(name, count, list(zip(words, kinds, strict=True))))
    return lines


def _agreeing(words: list[str], others: list[str]) -> dict[int, int]:
    """Index in `words` -> index in `others` of the words that both have at the same place."""
    if len(words) == len(others):
        return {i: i for i, (a, b) in enumerate(zip(words, others, strict=True)) if a == b}
    blocks = SequenceMatcher(None, words, others, autojunk=False).get_matching_blocks()
    return {block.a + i: block.b + i for block in blocks for i in range(block.size)}
