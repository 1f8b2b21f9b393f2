"""Open-domain questions in the files that DPR published: Natural Questions over 21 million blocks of Wikipedia.

Questions have accepted answers; only those of the bi-encoder files have passages judged relevant (finetuning §8.3).
It holds no equation.
"""

from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from bmae_lightning.corpus.collection import Collection
from bmae_lightning.corpus.columns import columns
from bmae_lightning.corpus.dpr_questions import Question, QuestionFile
from bmae_lightning.corpus.id_set import IdSet
from bmae_lightning.corpus.lines import BrokenLine, FirstProblem, as_text, plain_or_gzip, raw_lines
from bmae_lightning.corpus.records import Counts, Judgment, Passage, Query
from bmae_lightning.errors import BadInput

PASSAGES = "psgs_w100.tsv"
HEADER = ["id", "text", "title"]
TITLE_CHOICES = ("prepend", "drop")
SPLITS = ("train", "dev", "test")
COMPARED = 200
"""Positives whose texts are compared with those of the passages, to notice ids that are shifted by one."""
ALIKE = 0.6
"""Share of words in common from which two texts count as the same passage."""


class DprCorpus(Collection):
    """Reads a directory of DPR's files, each plain or gzip.

    psgs_w100.tsv has the passages (id, text, title); biencoder-<questions>-train.json the training questions with
    positive passages and hard negatives; <questions>-dev.qa.csv and <questions>-test.qa.csv questions with answers alone.
    Where the dev file is missing, biencoder-<questions>-dev.json takes its place. A question has no id of its own: it is
    called <split>-<number>, counted from 1 in its file; those of a bi-encoder file without a positive are left out.

    path: the directory.  questions: the part of the file names that says which: nq, trivia, …  splits: None for all that
    have a file.  title: "prepend" or "drop", as in BEIR.  ascii_apostrophes: write ' for the typographic apostrophe in
    questions, as DPR and MASTER do.
    """

    def __init__(
        self, path: str, questions: str = "nq", splits: list[str] | None = None, title: str = "prepend",
        ascii_apostrophes: bool = True,
    ):  # fmt: skip
        if title not in TITLE_CHOICES:
            raise ValueError(f"title={title!r} is not known; use one of {', '.join(TITLE_CHOICES)}.")
        if splits is not None and (not splits or not set(splits) <= set(SPLITS)):
            raise ValueError(f"splits={list(splits)} must be some of {', '.join(SPLITS)}, or null for all.")
        self.path, self.questions, self.title = Path(path).expanduser(), questions, title
        self.ascii_apostrophes = ascii_apostrophes
        self._requested = None if splits is None else list(splits)
        self._read: dict[str, list[Question]] = {}

    @property
    def name(self) -> str:
        return self.questions

    def options(self) -> dict[str, Any]:
        return {
            "path": str(self.path.absolute()), "questions": self.questions, "splits": self._requested,
            "title": self.title, "ascii_apostrophes": self.ascii_apostrophes,
        }  # fmt: skip

    def splits(self) -> list[str]:
        """The requested splits, or all that have a file."""
        found = [split for split in SPLITS if self._found(split)]
        missing = [split for split in self._requested or () if split not in found]
        if missing or not found:
            names = ", ".join(" or ".join(_names(self.questions, split)) for split in missing or SPLITS)
            raise BadInput(f"{self.path} has no {names}: there the questions stand; {_DOWNLOAD}.")
        return self._requested or found

    def files(self) -> list[Path]:
        return [self._passages_file(), *(self._file(split).path for split in self.splits())]

    def passages(self) -> Iterator[Passage]:
        """Yields the passages in file order; those of one article (by title) are neighbours."""
        path = self._passages_file()
        for number, line in _below_header(path):
            yield self._passage(path, number, line)

    def queries(self) -> Iterator[Query]:
        for split in self.splits():
            for question in self._questions(split):
                yield Query(question.id, question.text)

    def judgments(self, split: str) -> Iterator[Judgment]:
        """Yields the positives of a bi-encoder file, first the one that comes with the question; none of others."""
        for question in self._questions(split):
            for passage in question.positives:
                yield Judgment(question.id, passage, 1)

    def answers(self, split: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        for question in self._questions(split):
            yield question.id, question.answers

    def negatives(self, split: str) -> Iterator[tuple[str, tuple[str, ...]]]:
        """Yields (question id, ids of its hard negatives in the order of the file); nothing without a bi-encoder file."""
        if self._file(split).has_passages:
            for asked in self._file(split):
                yield asked.question.id, asked.negatives

    def check(self) -> Counts:
        ids, words = self._check_passages()
        queries, judgments = 0, {}
        for split in self.splits():
            questions = self._read[split] = self._check_questions(self._file(split), ids)
            queries += len(questions)
            judgments[split] = sum(len(question.positives) for question in questions)
            words += sum(len(question.text.split()) for question in questions)
        return Counts(len(ids), queries, judgments, words)

    def _check_passages(self) -> tuple[IdSet, int]:
        path, ids, words, problems = self._passages_file(), IdSet(), 0, FirstProblem()
        positives, same = self._first_positives(), 0
        for number, line in _below_header(path):
            try:
                passage = self._passage(path, number, line)
                if not ids.add(passage.id):
                    message = f"id {passage.id!r} was used before in this file; ids must be unique, remove one."
                    raise BrokenLine(path, number, "duplicate", message)
            except BrokenLine as problem:
                problems.add(problem)
                continue
            words += len(passage.text.split()) + len(passage.title.split())
            if wanted := positives.get(passage.id):
                same += len(wanted & set(passage.text.split())) >= ALIKE * len(wanted)
        problems.raise_if_any()
        if not len(ids):
            raise BadInput(f"{path} has no passage; it needs lines of {', '.join(HEADER)} below its header.")
        if same < len(positives) / 2:
            raise BadInput(
                f"{path}: {len(positives) - same} of {len(positives)} positive passages looked at have another text than "
                f"in {self._file('train').path.name}: the files do not belong together, or one of them counts passages "
                "from 0 and the other from 1."
            )
        return ids, words

    def _first_positives(self) -> dict[str, set[str]]:
        """Passage id -> words of its text, of some positives as the training file has them."""
        if "train" not in self.splits():
            return {}
        return {asked.question.positives[0]: set(asked.text.split()) for asked in islice(self._file("train"), COMPARED)}

    def _check_questions(self, file: QuestionFile, known: IdSet) -> list[Question]:
        questions, problems = [], FirstProblem()
        for asked in file:
            questions.append(asked.question)
            for id in (*asked.question.positives, *asked.negatives):
                if id not in known:
                    message = f"passage {id!r} is not in {PASSAGES}; use the files of one release."
                    problems.add(BrokenLine(file.path, asked.line, "unknown passage", message))
        problems.raise_if_any()
        if not questions:
            raise BadInput(f"{file.path} has no question{' with a positive' * file.has_passages}; {_DOWNLOAD}.")
        return questions

    def _passage(self, path: Path, number: int, line: bytes) -> Passage:
        id, text, title = columns(path, number, line, HEADER)
        if id.split() != [id]:
            message = f"the id {id!r} is empty or holds white space, which run files cannot hold; rename it."
            raise BrokenLine(path, number, "id", message)
        if not text.strip():
            raise BrokenLine(path, number, "empty", f"passage {id!r} has no text: remove the line or add the text.")
        title = title.strip()
        return Passage(id, title if self.title == "prepend" else "", text.strip(), title or None, None)

    def _questions(self, split: str) -> list[Question]:
        """The questions of a split, kept from then on: about 500 bytes each, whatever the size of the file."""
        if split not in self._read:
            self._read[split] = [asked.question for asked in self._file(split)]
        return self._read[split]

    def _found(self, split: str) -> Path | None:
        paths = (plain_or_gzip(self.path / name) for name in _names(self.questions, split))
        return next((path for path in paths if path), None)

    def _file(self, split: str) -> QuestionFile:
        path = self._found(split)
        if path is None:
            raise BadInput(f"{self.path} has no {' or '.join(_names(self.questions, split))}; {_DOWNLOAD}.")
        return QuestionFile(path, split, self.ascii_apostrophes)

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
    tables = [f"{questions}-{split}.qa.csv"] if split != "train" else []
    return tables + ([f"biencoder-{questions}-{split}.json"] if split != "test" else [])


def _below_header(path: Path) -> Iterator[tuple[int, bytes]]:
    lines = raw_lines(path)
    number, first = next(lines, (1, b""))
    if as_text(path, number, first).split("\t") != HEADER:
        message = f"the header {'<tab>'.join(HEADER)} is missing; put it in front, as DPR's own file has it."
        raise BrokenLine(path, number, "header", message)
    return lines
