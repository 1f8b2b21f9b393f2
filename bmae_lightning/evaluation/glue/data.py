"""The GLUE tasks of MASTER's Table 7, from GLUE's own tab-separated files or from the Hugging Face hub.

In the files a quote is a letter like any other, fields end at tabs only, and all but CoLA's begin with a header.
"""

import hashlib
import math
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from bmae_lightning.corpus.lines import BrokenLine, Problems, as_text, plain_or_gzip, raw_lines
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.file_digest import file_digest

HUB = "hub"
SPLITS = ("train", "dev")
BROKEN = 1e-3
"""Largest share of lines that may have too few or too many columns, in tasks whose published files have such lines."""
MRPC_WHOLE, MRPC_DEV_IDS = "msr_paraphrase_train.txt", ("dev_ids.tsv", "mrpc_dev_ids.tsv")
"""MRPC as it was first published: training and dev pairs in one file, and GLUE's list of the latter."""


class Example(NamedTuple):
    """One or two texts and the label: a class, 0 or 1, or a grade."""

    first: str
    second: str | None
    label: float


class Examples(NamedTuple):
    """The examples of a split, and how many broken lines were left out."""

    examples: list[Example]
    left_out: int = 0


@dataclass(frozen=True)
class Task:
    """One task.

    Attributes:
        name: of its folder.
        hub: its name on the hub.
        fields: its texts on the hub.
        texts, label: columns of its files, in lower case.
        measures: what is reported, see `glue.measures`.
        published: numbers of training and dev examples.
        header: its columns where the files have none.
        grades: whether labels are grades from 0 to 5, not classes 0 and 1.
        spoilt: whether the published files have lines that a line end inside a text has cut in two.
    """

    name: str
    hub: str
    fields: tuple[str, ...]
    texts: tuple[str, ...]
    label: str
    measures: tuple[str, ...]
    published: tuple[int, int]
    header: tuple[str, ...] = ()
    grades: bool = False
    spoilt: bool = False


PAIR = ("sentence1", "sentence2")
TASKS = {
    task.name: task
    for task in (
        Task(
            "CoLA", "cola", ("sentence",), ("sentence",), "label", ("Matthews",), (8551, 1043),
            header=("source", "label", "mark", "sentence"),
        ),
        Task("MRPC", "mrpc", PAIR, ("#1 string", "#2 string"), "quality", ("accuracy", "F1"), (3668, 408)),
        Task("STS-B", "stsb", PAIR, PAIR, "score", ("Pearson", "Spearman"), (5749, 1500), grades=True),
        Task(
            "QQP", "qqp", ("question1", "question2"), ("question1", "question2"), "is_duplicate", ("accuracy", "F1"),
            (363846, 40430), spoilt=True,
        ),
    )
}  # fmt: skip


class GlueFiles:
    """A folder with CoLA/, MRPC/, STS-B/ and QQP/, each with train.tsv and dev.tsv, plain or gzip."""

    def __init__(self, path: str) -> None:
        self.path = Path(path).expanduser()

    def read(self, task: Task, split: str) -> Examples:
        """The examples of a split, in the order of the file.

        Raises:
            BadInput: a missing file, header or label, a wrong number of columns; names file and line.
        """
        path = self._file(task, split)
        examples, problems = [], Problems()
        lines = raw_lines(path)
        header = task.header or _header(task, path, next(lines, None))
        places = [header.index(name) for name in task.texts]
        label, ids = header.index(task.label), self._dev_ids(task, path)
        for number, line in lines:
            cells = as_text(path, number, line).split("\t")
            if len(cells) != len(header):
                message = f"{len(cells)} columns instead of the {len(header)} of {task.name}: {', '.join(header)}"
                problems.add(BrokenLine(path, number, "columns", f"{message}; download the file again."))
                continue
            if ids is not None and ((cells[1], cells[2]) in ids) != (split == "dev"):
                continue
            texts = [cells[place] for place in places]
            examples.append(
                Example(texts[0], texts[1] if texts[1:] else None, _label(task, path, number, cells[label]))
            )
        left_out = sum(1 + more for _, more in problems)
        if not task.spoilt or left_out > BROKEN * (len(examples) + left_out):
            problems.raise_if_any()
        if len(examples) < 2:
            raise BadInput(f"{path}: {len(examples)} examples of {task.name}'s {split} split; download the file again")
        return Examples(examples, left_out)

    def identity(self, tasks: Iterable[Task]) -> str:
        """What results depend on: the content of the files.

        Raises:
            BadInput: one is missing.
        """
        digest = hashlib.sha256()
        for task in tasks:
            for split in SPLITS:
                path = self._file(task, split)
                listed = [path.parent / name for name in MRPC_DEV_IDS] if path.name.startswith(MRPC_WHOLE) else []
                for each in [path, *filter(Path.is_file, listed)]:
                    digest.update(file_digest(each).encode())
        return digest.hexdigest()

    def _file(self, task: Task, split: str) -> Path:
        folder = self.path / task.name
        found = plain_or_gzip(folder / f"{split}.tsv")
        if found is None and task.name == "MRPC":
            found = plain_or_gzip(folder / MRPC_WHOLE)
        if found is None:
            raise BadInput(
                f"{folder / f'{split}.tsv'}: there is no such file; glue.path={self.path} must hold GLUE's folders "
                f"({', '.join(TASKS)}) with train.tsv and dev.tsv, or name the tasks that it has: 'glue.tasks=[…]'"
            )
        return found

    def _dev_ids(self, task: Task, path: Path) -> set[tuple[str, str]] | None:
        """The pairs of sentence ids that are MRPC's dev split, None where each split has its own file."""
        if not path.name.startswith(MRPC_WHOLE):
            return None
        for listed in (path.parent / name for name in MRPC_DEV_IDS):
            if listed.is_file():
                lines = [as_text(listed, number, line).split() for number, line in raw_lines(listed)]
                return {(first, second) for first, second in lines}
        raise BadInput(
            f"{path.parent / MRPC_DEV_IDS[0]}: there is no such file, so that nothing says which pairs of {path.name} "
            "are the dev split; put GLUE's list there, or its train.tsv and dev.tsv"
        )


class GlueHub:
    """`nyu-mll/glue` of the Hugging Face hub, through the `datasets` library and its cache."""

    def read(self, task: Task, split: str) -> Examples:
        """The examples of a split.

        Raises:
            BadInput: the library is missing, or neither its cache nor the hub has the data.
        """
        try:
            from datasets import load_dataset
        except ModuleNotFoundError as error:
            raise BadInput(
                "glue.path=hub takes GLUE from the Hugging Face hub, which needs the package datasets: "
                "pip install 'bmae_lightning[glue]', or set glue.path=DIR to a folder with GLUE's files"
            ) from error
        try:
            rows = load_dataset("nyu-mll/glue", task.hub, split={"train": "train", "dev": "validation"}[split])
            columns = [list(rows[name]) for name in (*task.fields, "label")]
        except Exception as error:
            raise BadInput(
                f"glue.path=hub, but the Hugging Face hub did not give {task.name} ({type(error).__name__}): download "
                "GLUE where there is a network (gluebenchmark.com/tasks) and set glue.path=DIR"
            ) from error
        return Examples(
            [Example(row[0], row[1] if row[2:] else None, float(row[-1])) for row in zip(*columns, strict=True)]
        )

    def identity(self, tasks: Iterable[Task]) -> str:
        """Where it comes from: what the hub has is not expected to change."""
        return HUB


def open_glue(path: str | None) -> GlueFiles | GlueHub:
    """Where examples come from: a folder, or `hub`.

    Raises:
        BadInput: nothing is named.
    """
    if path is None:
        raise BadInput("glue.path is null: set glue.path=DIR to a folder with GLUE's files, or glue.path=hub")
    return GlueHub() if path == HUB else GlueFiles(path)


def find_tasks(names: Iterable[str]) -> list[Task]:
    """The tasks of these names, at least one.

    Raises:
        BadInput: there is no such task, or no name at all.
    """
    for name in names:
        if name not in TASKS:
            raise BadInput(f"glue.tasks: there is no {name!r}; there is {', '.join(TASKS)}")
    found = [TASKS[name] for name in names]
    if not found:
        raise BadInput(f"glue.tasks is empty: name some of {', '.join(TASKS)}")
    return found


def _header(task: Task, path: Path, line: tuple[int, bytes] | None) -> list[str]:
    number, content = line or (1, b"")
    header = [name.strip().lower() for name in as_text(path, number, content).split("\t")]
    missing = [name for name in (*task.texts, task.label) if name not in header]
    if missing:
        raise BrokenLine(
            path, number, "header",
            f"the header with the columns {', '.join((*task.texts, task.label))} is missing; {task.name}'s files begin "
            "with one, download the file again.",
        )  # fmt: skip
    return header


def _label(task: Task, path: Path, number: int, text: str) -> float:
    try:
        label = float(text)
    except ValueError:
        label = math.nan
    if not (0 <= label <= 5 if task.grades else text in ("0", "1")):
        wanted = "a grade from 0 to 5" if task.grades else "0 or 1"
        hint = "; this file has no header, remove the line" if number == 1 and task.header else ""
        raise BrokenLine(path, number, "label", f"the label of {task.name} must be {wanted}, got {text!r}{hint}.")
    return label
