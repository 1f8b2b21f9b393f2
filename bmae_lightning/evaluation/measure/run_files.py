"""Runs as other systems write them: TREC's six columns, MS MARCO's three with ranks, the same with scores, Parquet.

Every line of a file has as many columns as its first; a heading is passed over. Shapes: T lines.
"""

import math
import re
from array import array
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import numpy as np

from bmae_lightning.corpus.lines import as_text, raw_lines
from bmae_lightning.evaluation.measure.scores import SUFFIX, check_ranks, read_scores
from bmae_lightning.evaluation.measure.trec import RUN, Run, read_run
from bmae_lightning.runtime.errors import BadInput

RANK, SCORE = "rank", "score"
FORMS = {6: RUN, 4: "qid docid rank score", 3: "qid docid rank (or score)"}
"""Number of columns -> what they are."""
_HEADING = re.compile(r"(qid|(query|topic)([-_ ]?(id|no|number))?)", re.IGNORECASE)


def open_run(path: str | Path, third: str | None = None) -> Run:
    """The run of a file in any of the forms.

    third: what the last of three columns is, rank or score; None: what its values show. Whole numbers that rise in
        every query are ranks, of which only the order counts; numbers that fall, and fractions, are scores.

    Raises:
        BadInput: no such file, a line of another form, a value that is no number, a rank or a passage that a query has
            twice, or a third column that may be either.
    """
    parquet = str(path).endswith(SUFFIX)
    number, columns, heading = (0, 0, None) if parquet else _first(path)
    if third and columns != 3:
        raise BadInput(f"{path}: third: {third} is said of files of three columns; leave it out")
    if parquet:
        return read_scores(path)
    if columns in (0, 6):
        return read_run(path, heading is not None)
    if columns not in FORMS:
        pairs = "; pairs are judgments, which qrels= takes" if columns == 2 else ""
        known = " or ".join(f"`{form}`" for form in FORMS.values())
        raise BadInput(f"{path}:{number}: {columns} columns where {known} is expected{pairs}")
    lines = _read(path, columns, heading is not None)
    if columns == 4:
        run = lines.by_rank(lines.last)
        check_ranks(path, run)
    elif (third or _named(heading) or lines.guess()) == RANK:
        run = lines.by_rank(-lines.third)
    else:
        run = lines.by_score()
    run.check_pairs(path)
    return run


def _first(path: str | Path) -> tuple[int, int, list[str] | None]:
    """Number and columns of the first line, 0 in an empty file, and its fields where it is a heading."""
    for number, line in raw_lines(Path(path)):
        fields = as_text(path, number, line).split()
        heads = len(fields) > 2 and _HEADING.fullmatch(fields[0]) and not any(map(_is_number, fields[2:5]))
        return number, len(fields), fields if heads else None
    return 0, 0, None


def _named(heading: list[str] | None) -> str | None:
    """What the heading calls the third column."""
    name = heading[2].lower() if heading else ""
    return RANK if RANK in name else SCORE if SCORE in name or name.startswith("sim") else None


@dataclass
class _Lines:
    """What the lines of a file say; `third` and `last` are their numbers, `number` their places in the file."""

    path: str | Path
    queries: list[str]
    passages: list[str]
    rows: np.ndarray
    codes: np.ndarray
    third: np.ndarray
    last: np.ndarray
    number: np.ndarray

    def guess(self) -> str:
        """RANK or SCORE, as the third column shows."""
        order_T = np.argsort(self.rows, kind="stable")
        rows_T, values_T = self.rows[order_T], self.third[order_T]
        steps = np.where(rows_T[1:] == rows_T[:-1], np.diff(values_T), 0)
        whole = bool(np.all((values_T >= 0) & (values_T == np.floor(values_T))))
        if np.all(steps <= 0):
            return SCORE
        if whole and np.all(steps >= 0):
            return RANK
        if not whole and np.any(steps < 0):
            return SCORE
        line = self.number[order_T[np.argmax(steps > 0) + 1]]
        raise BadInput(
            f"{self.path}:{line}: the third column rises here, as a rank does, and "
            f"{'falls elsewhere' if whole else 'has fractions'}, as a score does: say which it is, "
            f"'run=[{{path: {self.path}, third: {RANK}}}]' or third: {SCORE}"
        )

    def by_rank(self, scores_T: np.ndarray) -> Run:
        """Every query in the order of its ranks."""
        if len(wrong := np.flatnonzero((self.third < 0) | (self.third != np.floor(self.third)))):
            place = wrong[0]
            raise BadInput(f"{self.path}:{self.number[place]}: the rank {self.third[place]:g} is not a whole number")
        order_T = np.lexsort((self.third, self.rows))
        rows_T, ranks_T = self.rows[order_T], self.third[order_T]
        if len(twice := np.flatnonzero((rows_T[1:] == rows_T[:-1]) & (ranks_T[1:] == ranks_T[:-1]))):
            place = order_T[twice[0] + 1]
            raise BadInput(
                f"{self.path}:{self.number[place]}: query {self.queries[self.rows[place]]} has rank "
                f"{self.third[place]:g} twice; give every passage a rank of its own"
            )
        return Run.from_entries(self.queries, self.passages, rows_T, self.codes[order_T], scores_T[order_T])

    def by_score(self) -> Run:
        return Run.from_entries(self.queries, self.passages, self.rows, self.codes, self.third).sort()


def _read(path: str | Path, columns: int, heading: bool) -> _Lines:
    query_code: dict[str, int] = {}
    code: dict[str, int] = {}
    rows, codes, third, last, numbers = array("i"), array("i"), array("d"), array("d"), array("q")
    for number, line in islice(raw_lines(Path(path)), int(heading), None):
        fields = as_text(path, number, line).split()
        if len(fields) != columns:
            raise BadInput(f"{path}:{number}: {len(fields)} columns; a line of this file is {FORMS[columns]}")
        if wrong := [field for field in fields[2:] if not _is_number(field)]:
            raise BadInput(f"{path}:{number}: the rank or score {wrong[0]!r} is not a finite number")
        rows.append(query_code.setdefault(fields[0], len(query_code)))
        codes.append(code.setdefault(fields[1], len(code)))
        third.append(float(fields[2]))
        last.append(float(fields[-1]))
        numbers.append(number)
    arrays = (np.array(values, dtype=values.typecode) for values in (rows, codes, third, last, numbers))
    return _Lines(path, list(query_code), list(code), *arrays)


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
