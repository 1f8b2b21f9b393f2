"""Open-domain questions in the files that DPR published: Natural Questions over 21 million blocks of Wikipedia.

Questions have accepted answers; only those of the bi-encoder files have passages judged relevant.
"""

from collections.abc import Iterator
from functools import partial
from itertools import chain, islice
from pathlib import Path
from typing import Any

from bmae_lightning.corpus.check import Check
from bmae_lightning.corpus.collection import Collection
from bmae_lightning.corpus.dpr_questions import Asked, Question, has_passages, questions_of
from bmae_lightning.corpus.lines import BrokenLine, Problems, as_text, columns, plain_or_gzip, raw_lines
from bmae_lightning.corpus.records import Judgment, Passage, Query, Rules, make_query
from bmae_lightning.corpus.stream import Stream
from bmae_lightning.runtime.errors import BadInput

PASSAGES = "psgs_w100.tsv"
HEADER = ["id", "text", "title"]
SPLITS = ("train", "dev", "test")
COMPARED = 200
"""Positives whose texts are compared with those of the passages, to notice ids that are shifted by one."""
ALIKE = 0.6
"""Share of words in common from which two texts count as the same passage."""


class DprCorpus(Collection):
    """Reads a directory of DPR's files, each plain or gzip.

    psgs_w100.tsv has the passages (id, text, title); biencoder-<questions>-train.json the training questions with
    positive passages and hard negatives; <questions>-dev.qa.csv and <questions>-test.qa.csv questions with answers
    alone. Where the dev file is missing, biencoder-<questions>-dev.json takes its place. A question has no id of its
    own: it is called <split>-<number>, counted from 1 in its file; those of a bi-encoder file without a positive are
    left out.

    path: the directory.  questions: the part of the file names that says which: nq, trivia, …  splits: None for all
    that have a file.  title, tolerate: as in `Rules`.  ascii_apostrophes: write ' for the typographic apostrophe in
    questions, as DPR and MASTER do.
    """

    def __init__(
        self, path: str | None, questions: str = "nq", splits: list[str] | None = None, title: str = "prepend",
        tolerate: list[str] | None = None, ascii_apostrophes: bool = True,
    ):  # fmt: skip
        if splits is not None and not set(splits) <= set(SPLITS):
            raise ValueError(
                f"splits={list(splits)} must be some of {', '.join(SPLITS)}, [] for none, or null for all."
            )
        if path is None:
            raise ValueError(f"path is not given: corpus.path=DIR or collections.nq=DIR names the folder; {_DOWNLOAD}.")
        self.rules = Rules(title, tuple(tolerate or ()))
        self.path, self.questions = Path(path).expanduser(), questions
        self.ascii_apostrophes = ascii_apostrophes
        self._requested = None if splits is None else list(splits)
        self._read: dict[str, list[tuple[int, Question]]] = {}

    @property
    def name(self) -> str:
        return self.questions

    def options(self) -> dict[str, Any]:
        return {
            "path": str(self.path.absolute()), "questions": self.questions, "splits": self._requested,
            "title": self.title, "tolerate": list(self.rules.tolerate), "ascii_apostrophes": self.ascii_apostrophes,
        }  # fmt: skip

    def splits(self) -> list[str]:
        """The requested splits, or all that have a file."""
        if self._requested == []:
            return []
        found = [split for split in SPLITS if self._found(split)]
        missing = [split for split in self._requested or () if split not in found]
        if missing or not found:
            names = ", ".join(" or ".join(_names(self.questions, split)) for split in missing or SPLITS)
            raise BadInput(f"{self.path} has no {names}: there the questions stand; {_DOWNLOAD}.")
        return self._requested or found

    def files(self) -> list[Path]:
        return [self._passages_file(), *map(self._file, self.splits())]

    def passages(self) -> Stream[Passage]:
        """The passages in file order; those of one article (by title) are neighbours."""
        path = self._passages_file()
        return Stream(path, lambda: _below_header(path), self._passage)

    def queries_of(self, split: str) -> Stream[Query]:
        rows = partial(self._questions, split)
        return Stream(self._file(split), rows, lambda path, line, asked: make_query(path, line, asked.id, asked.text))

    def queries(self) -> Iterator[Query]:
        return chain.from_iterable(map(self.queries_of, self.splits()))

    def judgments(self, split: str) -> Stream[Judgment]:
        """The positives of a bi-encoder file, first the one that comes with the question; none of others."""

        def rows() -> Iterator[tuple[int, Judgment]]:
            for line, question in self._questions(split):
                yield from ((line, Judgment(question.id, passage, 1)) for passage in question.positives)

        return Stream(self._file(split), rows, lambda path, line, judgment: judgment)

    def answers(self, split: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        for _, question in self._questions(split):
            yield question.id, question.answers

    def negatives(self, split: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yields the hard negatives of a bi-encoder file, in its order."""
        if has_passages(self._file(split)):
            for asked in self._asked(split):
                yield asked.question.id, asked.negatives

    def inspect(self, check: Check) -> None:
        self._inspect_passages(check)
        for split in self.splits():
            self._inspect_questions(split, check)

    def _inspect_passages(self, check: Check) -> None:
        stream, alike = self.passages(), 0
        first = islice(self._asked("train"), COMPARED) if "train" in self.splits() else ()
        words = {asked.question.positives[0]: set(asked.text.split()) for asked in first}

        def compared(path: Path, number: int, line: bytes) -> Passage:
            nonlocal alike
            passage = stream.parse(path, number, line)
            if wanted := words.get(passage.id):
                alike += len(wanted & set(passage.text.split())) >= ALIKE * len(wanted)
            return passage

        check.passages(Stream(stream.source, stream.rows, compared))
        if alike < len(words) / 2:
            raise BadInput(
                f"{stream.source}: {len(words) - alike} of {len(words)} positive passages looked at have another text "
                f"than in {self._file('train').name}: the files do not belong together, or one of them counts passages "
                "from 0 and the other from 1."
            )

    def _inspect_questions(self, split: str, check: Check) -> None:
        """Reads a file of questions once."""
        path, problems, read = self._file(split), Problems(), []
        for line, asked in self._asked(split).located(problems):
            read.append((line, asked.question))
            for id in asked.negatives:
                if not check.has_passage(id):
                    message = f"the hard negative {id!r} is not in {PASSAGES}; use the files of one release."
                    problems.add(BrokenLine(path, line, "unknown hard negative", message))
        check.settle(problems)
        self._read[split] = read
        known = check.queries(self.queries_of(split))
        if has_passages(path):
            check.judgments(split, self.judgments(split), known)
        else:
            check.answered(split, known)

    def _passage(self, path: Path, number: int, line: bytes) -> Passage:
        id, text, title = columns(path, number, line, HEADER)
        return self.rules.passage(path, number, id, title, text, title.strip() or None)

    def _asked(self, split: str) -> Stream[Asked]:
        return questions_of(self._file(split), split, self.ascii_apostrophes)

    def _questions(self, split: str) -> list[tuple[int, Question]]:
        """(line, question) of a split, kept from then on: about 500 bytes each, whatever the size of the file."""
        if split not in self._read:
            self._read[split] = [(line, asked.question) for line, asked in self._asked(split).numbered()]
        return self._read[split]

    def _found(self, split: str) -> Path | None:
        paths = (plain_or_gzip(self.path / name) for name in _names(self.questions, split))
        return next((path for path in paths if path), None)

    def _file(self, split: str) -> Path:
        path = self._found(split)
        if path is None:
            raise BadInput(f"{self.path} has no {' or '.join(_names(self.questions, split))}; {_DOWNLOAD}.")
        return path

    def _passages_file(self) -> Path:
        path = plain_or_gzip(self.path / PASSAGES)
        if path is None:
            raise BadInput(f"{self.path / PASSAGES} (or .gz) is missing; {_DOWNLOAD}.")
        return path


_DOWNLOAD = (
    f"the directory needs {PASSAGES}, biencoder-nq-train.json, nq-dev.qa.csv and nq-test.qa.csv, plain or .gz, as "
    "data/download_data.py of github.com/facebookresearch/DPR downloads them (its README describes them)"
)


def _names(questions: str, split: str) -> list[str]:
    """The files in which the questions of a split may stand."""
    tables = [f"{questions}-{split}.qa.csv"] if split != "train" else []
    return tables + ([f"biencoder-{questions}-{split}.json"] if split != "test" else [])


def _below_header(path: Path) -> Iterator[tuple[int, bytes]]:
    lines = raw_lines(path)
    number, first = next(lines, (1, b""))
    if as_text(path, number, first).split("\t") != HEADER:
        message = f"the header {'<tab>'.join(HEADER)} is missing; put it in front, as DPR's own file has it."
        raise BrokenLine(path, number, "header", message)
    return lines
