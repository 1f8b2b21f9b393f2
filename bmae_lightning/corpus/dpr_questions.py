"""The questions of a file of DPR: `<name>.qa.csv` has answers alone, `biencoder-<name>.json` has passages as well.

The JSON, of several gigabytes, is streamed.
"""

import ast
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from bmae_lightning.corpus.json_array import objects
from bmae_lightning.corpus.lines import BrokenLine, columns, raw_lines
from bmae_lightning.corpus.stream import Stream

PASSAGE_ID = ("passage_id", "psg_id")
"""The two spellings of the published files."""
APOSTROPHE = "\u2019"


class Question(NamedTuple):
    """One question; `positives` are ids of passages in the order of the file, each once."""

    id: str
    text: str
    answers: tuple[str, ...]
    positives: tuple[str, ...]


class Asked(NamedTuple):
    """A question as its file has it, with the text of its first positive and the ids of its hard negatives."""

    question: Question
    text: str
    negatives: tuple[str, ...]


def has_passages(path: Path) -> bool:
    """Whether a file names passages beside its questions."""
    return ".json" in path.name


def questions_of(path: Path, split: str, ascii_apostrophes: bool) -> Stream[Asked]:
    """The questions of a file, called <split>-<number>; where there are passages, those that have a positive.

    ascii_apostrophes: write ' for the typographic apostrophe in questions.
    """
    rows, parse = (_records, _asked_of_record) if has_passages(path) else (_lines, _asked_of_line)
    return Stream(path, partial(rows, path), partial(parse, split=split, ascii_apostrophes=ascii_apostrophes))


def _lines(path: Path) -> Iterator[tuple[int, tuple[int, bytes]]]:
    return ((number, (number, line)) for number, line in raw_lines(path))


def _records(path: Path) -> Iterator[tuple[int, tuple[int, dict]]]:
    """Those without a positive are left out, but counted: DPR trains with the others."""
    for number, (line, record) in enumerate(objects(path), start=1):
        if record.get("positive_ctxs") != []:
            yield line, (number, record)


def _asked_of_line(path: Path, line: int, row: tuple[int, bytes], split: str, ascii_apostrophes: bool) -> Asked:
    number, content = row
    text, literal = columns(path, line, content, ["question", "list of answers"])
    try:
        answers = ast.literal_eval(literal)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        message = f"the answers {literal[:60]!r} are no list of strings; write them as ['Paris', \"St. John's\"]."
        raise BrokenLine(path, line, "answers", message) from None
    return Asked(_question(path, line, f"{split}-{number}", text, answers, (), ascii_apostrophes), "", ())


def _asked_of_record(path: Path, line: int, row: tuple[int, dict], split: str, ascii_apostrophes: bool) -> Asked:
    number, record = row
    positives, negatives = (_ids(path, line, record, part) for part in ("positive_ctxs", "hard_negative_ctxs"))
    asked = record.get("question"), record.get("answers")
    question = _question(path, line, f"{split}-{number}", *asked, positives, ascii_apostrophes)
    return Asked(question, str(record["positive_ctxs"][0].get("text")), negatives)


def _question(
    path: Path, line: int, id: str, text: Any, answers: Any, positives: tuple[str, ...], ascii_apostrophes: bool
) -> Question:
    if not _is_text(text):
        raise BrokenLine(path, line, "empty", "the question has no text; remove it or add the text.")
    if not answers or not isinstance(answers, list | tuple) or not all(map(_is_text, answers)):
        what = f"the answers {str(answers)[:60]!r}, no list of texts" if answers else "no answers"
        message = f"the question has {what}: nothing could be measured or mined; add its answers or remove it."
        raise BrokenLine(path, line, "answers", message)
    text = text.replace(APOSTROPHE, "'") if ascii_apostrophes else text
    return Question(id, text.strip(), tuple(answers), positives)


def _ids(path: Path, line: int, record: dict, part: str) -> tuple[str, ...]:
    contexts = record.get(part)
    if not isinstance(contexts, list):
        message = f"the question has no list {part!r}; give the file as DPR published it."
        raise BrokenLine(path, line, "passages", message)
    found: dict[str, None] = {}
    for context in contexts:
        names = [name for name in PASSAGE_ID if name in context] if isinstance(context, dict) else []
        if not names or type(context[names[0]]) not in (str, int):
            message = f"a passage of {part} has no {' or '.join(PASSAGE_ID)}; add the id of its line in psgs_w100.tsv."
            raise BrokenLine(path, line, "passages", message)
        found[str(context[names[0]])] = None
    return tuple(found)


def _is_text(found: Any) -> bool:
    """Whether it is a string with something in it and without half a surrogate pair."""
    return isinstance(found, str) and found.strip() != "" and found.encode("utf-8", "replace").decode() == found
