"""Which retrieved passages hold an answer: judgments of Natural Questions by the matching of DPR's code.

The measure over these judgments is `AnswerRecall` (answer_R@k). Shapes: T entries of the whole run, K ranks of a query.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import regex

from bmae_lightning.evaluation.measure.trec import Qrels, Run
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.progress import track

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


def judge(run: Run, answers: Mapping[str, Sequence[str]], texts: Iterable[tuple[str, str]], label: str) -> Qrels:
    """Judgments of a run: 1 for a passage with an answer; a question without one keeps its first passage at 0.

    Args:
        run: whose passages are judged by their texts, each of which is looked at once.
        answers: question id -> accepted answers, for every query of the run.
        texts: (passage id, text without its title) of the corpus; read as far as the last passage of the run.
        label: of the progress.

    Raises:
        BadInput: a passage of the run that is not in `texts`.
    """
    waiting: dict[str, int] = {}
    numbers = (waiting.setdefault(passage, len(waiting)) for query in run for passage in run.passages(query))
    passage_T = np.fromiter(numbers, dtype=np.int32)
    sizes = [len(run.passages(query)) for query in run]
    query_T = np.repeat(np.arange(len(run), dtype=np.int32), sizes)
    accepted = [[words(answer) for answer in answers[query]] for query in run]
    order_T, holds_T = np.argsort(passage_T, kind="stable"), np.zeros(len(passage_T), dtype=bool)
    bounds = np.searchsorted(passage_T[order_T], np.arange(len(waiting) + 1)).tolist()
    with track(label, len(waiting)) as advance:
        for passage, text in texts if waiting else ():
            if (number := waiting.pop(passage, None)) is None:
                continue
            said = words(text)
            for entry in order_T[bounds[number] : bounds[number + 1]].tolist():
                holds_T[entry] = _holds(said, accepted[query_T[entry]])
            advance(1)
            if not waiting:
                break
    if waiting:
        raise BadInput(
            f"the run lists {len(waiting):,} passages that the corpus does not have, such as "
            f"{next(iter(waiting))!r}; search the same corpus"
        )
    judged: Qrels = {}
    for query, held_K in zip(run, np.split(holds_T, np.cumsum(sizes, dtype=np.int64)[:-1]), strict=False):
        passages = run.passages(query)
        judged[query] = {passage: 1 for passage, holds in zip(passages, held_K.tolist(), strict=True) if holds}
        if passages and not judged[query]:
            judged[query] = {passages[0]: 0}
    return judged
