"""Which retrieved passages hold an answer: judgments of Natural Questions by the matching of DPR's code.

The measure over these judgments is `AnswerRecall` (answer_R@k). Shapes: T entries of the whole run.
"""

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import regex

from bmae_lightning.evaluation.measure.trec import Qrels, Run
from bmae_lightning.runtime.errors import BadInput

_WORD = regex.compile(r"[\p{L}\p{N}\p{M}]+|[^\p{Z}\p{C}]")
_ASCII_WORD = re.compile(r"[0-9A-Za-z]+|[!-~]")


def words(text: str) -> str:
    """The words of a text, lower-cased, a blank on both sides of each: `words(answer) in words(text)` is the match.

    The text is decomposed (NFD); a word is a run of letters, digits and marks, or any other single visible character.
    Nothing else is normalised. A text without a word gives "".
    """
    found = _ASCII_WORD.findall(text) if text.isascii() else _WORD.findall(unicodedata.normalize("NFD", text))
    return f" {' '.join(found)} ".lower() if found else ""


def has_answer(text: str, answers: Iterable[str]) -> bool:
    """Whether the words of an answer stand together in the text; an answer without a word stands nowhere."""
    return _holds(words(text), [words(answer) for answer in answers])


def _holds(said: str, answers: Sequence[str]) -> bool:
    return any(answer and answer in said for answer in answers)


class AnswerJudge:
    """Judges the passages of a run by their texts, each of which is looked at once.

    Args:
        run: whose passages are judged.
        answers: question id -> accepted answers, for every query of the run.

    Attributes:
        passages: how many different passages the run has.
    """

    def __init__(self, run: Run, answers: Mapping[str, Sequence[str]]) -> None:
        self._run, self._number = run, {}
        numbers = (
            self._number.setdefault(passage, len(self._number)) for query in run for passage in run.passages(query)
        )
        self._passage_T = np.fromiter(numbers, dtype=np.int32)
        self._query_T = np.repeat(np.arange(len(run), dtype=np.int32), [len(run.passages(query)) for query in run])
        self._accepted = [[words(answer) for answer in answers[query]] for query in run]
        self.passages = len(self._number)

    def judge(self, texts: Iterable[tuple[str, str]], progress: Callable[[int], None] | None = None) -> Qrels:
        """Judgments of the run: 1 for a passage with an answer; a question without one keeps its first passage at 0.

        Args:
            texts: (passage id, text without its title) of the corpus; read as far as the last passage of the run.
            progress: called with the number of passages looked at since the last call.

        Raises:
            BadInput: a passage of the run that is not in `texts`.
        """
        order_T = np.argsort(self._passage_T, kind="stable")
        bounds = np.searchsorted(self._passage_T[order_T], np.arange(self.passages + 1)).tolist()
        waiting, holds_T = dict(self._number), np.zeros(len(order_T), dtype=bool)
        for passage, text in texts if waiting else ():
            number = waiting.pop(passage, None)
            if number is None:
                continue
            said = words(text)
            for entry in order_T[bounds[number] : bounds[number + 1]].tolist():
                holds_T[entry] = _holds(said, self._accepted[self._query_T[entry]])
            if progress is not None:
                progress(1)
            if not waiting:
                break
        if waiting:
            raise BadInput(
                f"the run lists {len(waiting):,} passages that the corpus does not have, such as "
                f"{next(iter(waiting))!r}; search the same corpus"
            )
        return self._judgments(holds_T)

    def _judgments(self, holds_T: np.ndarray) -> Qrels:
        judged, start = {}, 0
        for query in self._run:
            passages = self._run.passages(query)
            held = holds_T[start : start + len(passages)].tolist()
            start += len(passages)
            judged[query] = {passage: 1 for passage, holds in zip(passages, held, strict=True) if holds}
            if passages and not judged[query]:
                judged[query] = {passages[0]: 0}
        return judged
