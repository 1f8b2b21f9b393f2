"""Which passages a query is trained to find: all that are judged relevant, the first, or found ones with an answer.

SimLM's rule on Natural Questions: a found passage with an answer counts only above every negative
(docs/finetuning.md §3.6).
"""

from collections.abc import Mapping, Sequence
from itertools import takewhile

from bmae_lightning.evaluation.measure.trec import Run
from bmae_lightning.runtime.checks import choice
from bmae_lightning.runtime.errors import BadInput

POSITIVES = ("labelled", "pairs", "first", "answers")


def choose_positives(
    rule: str, relevant: Mapping[str, Sequence[str]], run: Run | None, answered: Mapping[str, Mapping[str, int]],
    above_negatives: bool = True,
) -> dict[str, list[str]]:  # fmt: skip
    """Query id -> the passages it is trained with as positives.

    Args:
        rule: `labelled`, all relevant ones in turn; `pairs`, each in an example of its own; `first`, the first of them;
            `answers`, that and passages of the run with an answer.
        relevant: query id -> passages judged relevant.
        run: ranking of the queries.
        answered: judgments of the run: above 0 for a passage with an answer.
        above_negatives: only those that no passage without an answer stands above.

    Raises:
        ValueError: an unknown rule.
        BadInput: `answers` for a ranking that was not judged by answers.
    """
    choice(POSITIVES, positives=rule)
    if rule in ("labelled", "pairs"):
        return {query: list(passages) for query, passages in relevant.items()}
    if rule == "first":
        return {query: list(passages[:1]) for query, passages in relevant.items()}
    if run is None or not answered:
        raise BadInput(
            "positives=answers needs a ranking whose passages were looked through for answers: take a collection with "
            "answers (corpus=nq) and a ranking of its training questions, or positives=labelled"
        )
    chosen = {}
    for query, passages in relevant.items():
        found = with_answer(query, run, answered)
        if above_negatives:
            ranked = run.passages(query) if query in run else []
            found = takewhile({*found, *passages}.__contains__, ranked)  # up to the first negative
        chosen[query] = list(dict.fromkeys([*passages[:1], *found]))
    return chosen


def with_answer(query: str, run: Run, answered: Mapping[str, Mapping[str, int]]) -> list[str]:
    """The passages of a query's ranking that hold an answer, in rank order."""
    marks = answered.get(query, {})
    return [passage for passage in run.passages(query) if marks.get(passage, 0) > 0] if query in run else []
