"""What was mined for the training queries, and the groups of passages that they are trained with (finetuning §3.2, §3.6).

Where questions have answers, a found passage that holds one is never a negative.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.evaluation.measure.ranking import TRAIN
from bmae_lightning.evaluation.measure.trec import Qrels, Run, read_qrels, read_run, run_of_lists
from bmae_lightning.retrieval.negatives.positives import choose_positives
from bmae_lightning.retrieval.negatives.source import Groups, RandomNegatives, RankedNegatives, relevant_of


class Mined(NamedTuple):
    """found: the ranking.  answered: which of its passages hold an answer, empty where there are no answers."""

    found: Run
    answered: Qrels

    @property
    def negatives(self) -> Run:
        """The ranking without the passages that hold an answer."""
        if not self.answered:
            return self.found
        marks = self.answered
        return run_of_lists(
            (query, [passage for passage in self.found.passages(query) if marks.get(query, {}).get(passage, 0) <= 0])
            for query in self.found
        )


def read_mined(ranking: Path) -> Mined:
    """The ranking of the training queries in a stage's directory."""
    marks = ranking / f"answers.{TRAIN}.trec"
    return Mined(read_run(ranking / f"run.{TRAIN}.trec"), read_qrels(marks) if marks.is_file() else {})


def training_groups(
    qrels: Mapping[str, Mapping[str, int]], queries: TokenStore, passages: TokenStore,
    source: RankedNegatives | RandomNegatives, mined: Mined | None, positives: str, size: int, seed: int,
    scored: bool = False,
) -> Groups:  # fmt: skip
    """The groups of the training queries.

    Args:
        qrels, queries, passages, source, size, seed: as for `Groups`.
        mined: the ranking of the training queries, None where the source needs none.
        positives: which passages count as such, in the words of `choose_positives`.
        scored: a teacher will choose among the passages with an answer, so all of them are kept.

    Raises:
        BadInput: as `Groups` and `choose_positives`.
    """
    run, answered = (mined.found, mined.answered) if mined else (None, {})
    chosen = choose_positives(positives, relevant_of(qrels), run, answered, above_negatives=not scored)
    return Groups(qrels, queries, passages, source, mined and mined.negatives, size, seed, chosen)
