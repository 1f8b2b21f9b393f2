"""What was mined for the training queries, and the stages that train on groups of a query's passages.

Where questions have answers, a found passage that holds one is never a negative (docs/finetuning.md §3.6).
"""

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from bmae_lightning.corpus.collection import Collection
from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.encoder.pretrained import PretrainedEncoder
from bmae_lightning.encoder.scratch import ScratchEncoder
from bmae_lightning.evaluation.measure.ranking import TRAIN
from bmae_lightning.evaluation.measure.trec import Qrels, Run, read_qrels, read_run, run_of_lists
from bmae_lightning.retrieval.negatives.positives import POSITIVES, choose_positives
from bmae_lightning.retrieval.negatives.source import (
    Groups,
    Negatives,
    QueryShare,
    check_ids,
    relevant_of,
)
from bmae_lightning.runtime.checks import choice
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.process import print_once
from bmae_lightning.runtime.stage import Context, require_splits
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.training import TrainingStage


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


@dataclass(kw_only=True)
class TrainsOnGroups(TrainingStage):
    """A stage that trains on groups of passages of one query: a positive and hard negatives.

    Args:
        encoder: what the model starts from where no input says otherwise.
        negatives: source of hard negatives.
        train_group_size: passages per query, the positive among them.
        positives: which passages count as such, see `choose_positives`.
        train_queries: which training queries take part.
    """

    encoder: PretrainedEncoder | ScratchEncoder
    negatives: Negatives
    train_group_size: int
    positives: str = "labelled"
    train_queries: QueryShare = field(default_factory=QueryShare)

    def __post_init__(self) -> None:
        super().__post_init__()
        choice(POSITIVES, positives=self.positives)

    def preflight(self, splits: list[str]) -> None:
        require_splits(self.name, [TRAIN], splits)
        super().preflight(splits)

    def check_inputs(self, inputs: Mapping[str, Any]) -> None:
        """Raise BadInput where hard negatives come from a ranking of the training queries that no stage makes."""
        if not self.negatives.needs_run:
            return
        if not (ranking := inputs.get("ranking")):
            raise BadInput(
                f"{self.name}.inputs.ranking is empty: name the stage whose ranking holds the hard negatives"
            )
        options, stage = getattr(ranking, "config", {}), getattr(ranking, "stage", "evaluate")
        if corpus := build(options.get("corpus"), "corpus"):
            given = corpus.negatives(TRAIN) if isinstance(corpus, Collection) else iter(())
            if next(given, None) is None:
                raise BadInput(
                    f"{self.name}.inputs.ranking={stage}: the corpus comes without hard negatives of its own; name a "
                    "stage that ranks the training queries, such as bm25"
                )
        if not options.get("train_depth", 1):
            raise BadInput(
                f"{self.name} takes hard negatives from {stage}, which does not search for training queries: set "
                f"{stage}.train_depth=200, or choose a recipe with this rung (recipe=ladder)"
            )

    def check_corpus(self, corpus: Path) -> None:
        """Raise BadInput where a file of the user's with hard negatives does not fit the prepared corpus."""
        if self.negatives.foreign:
            prepared = Prepared(corpus)
            listed = self.negatives.of(None, relevant_of(prepared.qrels(TRAIN)))
            check_ids(listed, prepared.passages(), self.negatives.path)

    def mined(self, context: Context) -> Mined | None:
        """The ranking of the training queries, None where the negatives come from elsewhere."""
        ranking = context.inputs.get("ranking")
        return read_mined(ranking) if ranking and self.negatives.needs_run else None

    def groups(
        self, qrels: Qrels, stores: tuple[TokenStore, TokenStore], mined: Mined | None, held_out: Container[str] = (),
        scored: bool = False,
    ) -> Groups:  # fmt: skip
        """The groups of the training queries.

        Args:
            qrels: judgments of the training split.
            stores: queries and passages.
            mined: from `mined`.
            held_out: queries to leave out.
            scored: a teacher will choose among the passages with an answer, so all of them are kept.

        Raises:
            BadInput: as `Groups` and `choose_positives`.
        """
        share = self.train_queries.of(qrels)
        qrels = {query: marks for query, marks in share.items() if query not in held_out}
        run, answered = mined or (None, {})
        chosen = choose_positives(self.positives, relevant_of(qrels), run, answered, above_negatives=not scored)
        negatives = mined and mined.negatives
        options = self.negatives, negatives, self.train_group_size, self.seed, chosen, self.positives == "pairs"
        return Groups(qrels, *stores, *options)

    def announce(self, title: str, groups: Groups, note: str, held_out: int = 0) -> None:
        """Print how many queries are trained with, and how many of them have too few hard negatives."""
        dropped = f", {groups.dropped:,} dropped" if groups.dropped else ""
        how = "repeated" if self.negatives.short == "repeat" else "filled at random"
        dropped += f", {held_out:,} held out for validation" if held_out else ""
        kind = "pairs" if groups.pairs else "training queries"
        print_once(
            f"{title}: {len(groups):,} {kind}{dropped}, {groups.short:,} with fewer than "
            f"{self.train_group_size - 1} hard negatives ({how}), {note}"
        )
