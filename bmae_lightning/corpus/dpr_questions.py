"""The questions of one of DPR's files: `<name>.qa.csv` with answers alone, `biencoder-<name>.json` with passages as well.

The JSON, of several gigabytes, is streamed. It holds no equation.
"""

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bmae_lightning.corpus.columns import columns
from bmae_lightning.corpus.json_array import objects
from bmae_lightning.corpus.lines import BrokenLine, raw_lines

PASSAGE_ID = ("passage_id", "psg_id")
"""The two spellings of the published files."""


class Question(NamedTuple):
    """One question; `positives` are ids of passages in the order of the file, each once."""

    id: str
    text: str
    answers: tuple[str, ...]
    positives: tuple[str, ...]


class Asked(NamedTuple):
    """A question as its file has it: the line it begins on, the text of its first positive, ids of hard negatives."""

    line: int
    question: Question
    text: str
    negatives: tuple[str, ...]


class QuestionFile:
    """path: the file.  split: what ids begin with.  ascii_apostrophes: write ' for the typographic one in questions."""

    def __init__(self, path: Path, split: str, ascii_apostrophes: bool) -> None:
        self.path, self.split, self.ascii_apostrophes = path, split, ascii_apostrophes
        self.has_passages = ".json" in path.name

    def __iter__(self) -> Iterator[Asked]:
        """Yields the questions; of those with passages only the ones that have a positive. Raises BadInput."""
        return self._records() if self.has_passages else self._rows()

    def _rows(self) -> Iterator[Asked]:
        for number, line in raw_lines(self.path):
            text, literal = columns(self.path, number, line, ["question", "list of answers"])
            try:
                answers = ast.literal_eval(literal)
            except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
                message = (
                    f"the answers {literal[:60]!r} are no list of strings; write them as ['Paris', \"St. John's\"]."
                )
                raise BrokenLine(self.path, number, "answers", message) from None
            yield Asked(number, self._question(number, number, text, answers, ()), "", ())

    def _records(self) -> Iterator[Asked]:
        for number, (line, record) in enumerate(objects(self.path), start=1):
            positives = self._ids(line, record, "positive_ctxs")
            if positives:
                question = self._question(line, number, record.get("question"), record.get("answers"), positives)
                text = str(record["positive_ctxs"][0].get("text"))
                yield Asked(line, question, text, self._ids(line, record, "hard_negative_ctxs"))

    def _question(self, line: int, number: int, text: Any, answers: Any, positives: tuple[str, ...]) -> Question:
        if not _is_text(text):
            raise BrokenLine(self.path, line, "empty", "the question has no text; remove it or add the text.")
        if not answers or not isinstance(answers, list | tuple) or not all(map(_is_text, answers)):
            what = f"the answers {str(answers)[:60]!r}, no list of texts" if answers else "no answers"
            message = f"the question has {what}: nothing could be measured or mined; add its answers or remove it."
            raise BrokenLine(self.path, line, "answers", message)
        text = text.replace("\u2019", "'") if self.ascii_apostrophes else text
        return Question(f"{self.split}-{number}", text.strip(), tuple(answers), positives)

    def _ids(self, line: int, record: dict, part: str) -> tuple[str, ...]:
        contexts = record.get(part)
        if not isinstance(contexts, list):
            message = f"the question has no list {part!r}; give the file as DPR published it."
            raise BrokenLine(self.path, line, "passages", message)
        found: dict[str, None] = {}
        for context in contexts:
            names = [name for name in PASSAGE_ID if name in context] if isinstance(context, dict) else []
            if not names or type(context[names[0]]) not in (str, int):
                message = (
                    f"a passage of {part} has no {' or '.join(PASSAGE_ID)}; add the id of its line in psgs_w100.tsv."
                )
                raise BrokenLine(self.path, line, "passages", message)
            found[str(context[names[0]])] = None
        return tuple(found)


def _is_text(found: Any) -> bool:
    """Whether it is a string with something in it and without half a surrogate pair."""
    return isinstance(found, str) and found.strip() != "" and found.encode("utf-8", "replace").decode() == found
