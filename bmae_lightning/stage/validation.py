"""What a fine-tuning stage looks at while it trains: some queries, ranked over a part of the corpus, and measured.

The ranking is exact and the measure that of the evaluate stages. Only the corpus is smaller, so values are higher than
theirs and good for comparing steps of one run. Checkpoints are chosen on queries that are not reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.evaluation.measure.ranking import TRAIN, canonical, check_measures, evaluate
from bmae_lightning.evaluation.measure.trec import Qrels, Run
from bmae_lightning.retrieval.negatives.source import QueryShare
from bmae_lightning.retrieval.search import search
from bmae_lightning.retrieval.vector_files import Encoded
from bmae_lightning.runtime.checks import at_least, choice
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.process import print_once
from bmae_lightning.runtime.shares import exact
from bmae_lightning.runtime.stage import require_splits
from bmae_lightning.stage.prepared import Prepared

if TYPE_CHECKING:
    import torch

    from bmae_lightning.lit.validation import Looks
    from bmae_lightning.retrieval.dual_encoder import DualEncoder

DEV = "dev"
KEEP = ("last", "best")
HOLD_OUT = "validation.split=train"
DEPTH = 1000
"""Ranks that a measure sees, as in the papers' evaluation."""


@dataclass(kw_only=True)
class Validation:
    """`validation:` of a fine-tuning stage.

    Args:
        every: steps between two looks, below 1 a share of all steps, None for no look.
        split: the queries that are looked at; `train`: some are held out of training; None: dev, and no look where the
            corpus has no such split.
        queries: how many of them, drawn by the seed.
        passages: size of the corpus that is ranked, None for all: what is judged for these queries, then what the
            stage's ranking has on top for them, then others drawn by the seed.
        measure: a name that ir_measures knows.
        patience: looks without a better value before training stops, None not to stop.
        keep: which weights become the retriever, `last` or `best`.
        reported: splits by which nothing may be chosen.
        batch_tokens: word pieces encoded at a time.

    Raises:
        ValueError: a value that is not possible, or `patience` or `keep=best` without looks.
    """

    every: float | None = None
    split: str | None = None
    queries: int = 500
    passages: int | None = 20_000
    measure: str = "RR@10"
    patience: int | None = None
    keep: str = "last"
    reported: Sequence[str] = ()
    batch_tokens: int = 4096

    def __post_init__(self) -> None:
        if self.every is not None and (self.every <= 0 or self.every > 1 and self.every != int(self.every)):
            raise ValueError(f"every must be a number of steps, or below 1 a share of them, got {self.every}")
        choice(KEEP, keep=self.keep)
        at_least(
            1, queries=self.queries, passages=self.passages, patience=self.patience, batch_tokens=self.batch_tokens
        )
        for name, asked in {"patience": self.patience is not None, "keep=best": self.keep == "best"}.items():
            if asked and self.every is None:
                raise ValueError(f"{name} needs looks: set every, the steps between two of them")

    @property
    def chooses(self) -> bool:
        """Whether the result depends on what is seen."""
        return self.patience is not None or self.keep == "best"

    def preflight(self, stage: str, splits: list[str]) -> None:
        """Look ahead before anything runs.

        Raises:
            BadInput: an unknown measure, or no queries to look at where the result depends on them.
        """
        check_measures([self.measure])
        if self.every is None:
            return
        if self.split is not None:
            require_splits(f"{stage}.validation.split", [self.split], splits)
        elif self.chooses and DEV not in splits:
            raise BadInput(
                f"{stage}.validation: the corpus has no judgments for the split {DEV!r} (qrels/{DEV}.tsv); set "
                f"{stage}.validation.split=train to hold queries out of training"
            )
        if self.chooses and (split := self.split or DEV) in self.reported:
            raise BadInput(
                f"{stage}.validation would choose by the split {split!r}, which is reported (evaluate.splits): set "
                f"{stage}.validation.split=train to hold queries out of training, or {stage}.validation.reported=[] to "
                "choose by it all the same"
            )

    def choose(
        self, prepared: Prepared, seed: int, title: str, train_queries: QueryShare | None = None
    ) -> tuple[str | None, Qrels]:
        """The split and the judgments of the queries to look at, none if there is nothing to look at.

        train_queries: those of the training split that may be held out.

        Raises:
            BadInput: no training query would be left.
        """
        if self.every is None:
            return None, {}
        split = self.split or DEV
        if self.split is None and DEV not in prepared.splits:
            print_once(
                f"{title}: no validation, the corpus has no split {DEV!r} ({HOLD_OUT} holds queries out of training)"
            )
            return None, {}
        qrels = prepared.qrels(split)
        if split == TRAIN and train_queries is not None:
            qrels = train_queries.of(qrels)
        judged = {query: marks for query, marks in qrels.items() if any(grade > 0 for grade in marks.values())}
        if not judged and (self.split is not None or self.chooses):
            raise BadInput(
                f"validation: the split {split!r} has no judgments; set {HOLD_OUT} to hold queries out of training"
            )
        if not judged:
            print_once(f"{title}: no validation, the split {split!r} has no judgments ({HOLD_OUT} is one way)")
            return None, {}
        if split == TRAIN and self.queries >= len(judged):
            raise BadInput(
                f"validation.queries={self.queries} would hold all {len(judged)} training queries out of training; use "
                "fewer"
            )
        names = list(judged)
        rows = np.sort(np.random.default_rng([seed, 0]).permutation(len(names))[: self.queries])
        return split, {names[row]: judged[names[row]] for row in rows}

    def callback(
        self, qrels: Qrels, run: Run, prepared: Prepared, query_length: int, passage_length: int, seed: int, steps: int,
        directory: Path,
    ) -> Looks:  # fmt: skip
        """What looks at the retriever during `steps` steps.

        Args:
            qrels: from `choose`.
            run: a ranking for these queries, if there is one.
            directory: of the checkpoints.
        """
        from bmae_lightning.lit.validation import Looks

        passages = prepared.passages()
        rows = sample_passages(qrels, run, passages, self.passages, seed)
        sample = Sample(qrels, prepared.queries(), passages, rows, self, query_length, passage_length)
        (name,) = canonical([self.measure])
        every = max(1, round(exact(self.every) * steps)) if self.every < 1 else int(self.every)
        return Looks(sample, name, every, steps, self.patience, self.keep == "best", directory)


def sample_passages(qrels: Qrels, run: Run, passages: TokenStore, size: int | None, seed: int) -> np.ndarray:
    """Rows, ascending: all judged passages, then the run's by rank, then random ones, until there are `size`."""
    if size is None or size >= len(passages):
        return np.arange(len(passages))
    chosen = {passages.row_of(passage) for marks in qrels.values() for passage in marks}
    ranked = [run.passages(query) for query in qrels if query in run]
    deepest = max(map(len, ranked), default=0)
    for passage in (listed[rank] for rank in range(deepest) for listed in ranked if rank < len(listed)):
        if len(chosen) >= size:
            break
        chosen.add(passages.row_of(passage))
    others = np.random.default_rng([seed, 1]).permutation(len(passages))
    others = others[~np.isin(others, list(chosen))][: max(0, size - len(chosen))]
    return np.sort(np.concatenate([np.array(sorted(chosen), dtype=np.int64), others]))


class Sample:
    """Judged queries and the rows of a corpus to rank for them; called with a model it measures that.

    Args:
        qrels: query id -> passage id -> relevance.
        queries, passages: token stores.
        rows: rows of the passages to be ranked, ascending.
        options: the measure, and word pieces encoded at a time.
        query_length, passage_length: word pieces with [CLS] and [SEP].
    """

    def __init__(
        self, qrels: Qrels, queries: TokenStore, passages: TokenStore, rows: np.ndarray, options: Validation,
        query_length: int, passage_length: int,
    ) -> None:  # fmt: skip
        self.qrels, self.queries, self.passages, self.rows, self.options = qrels, queries, passages, rows, options
        self.query_length, self.passage_length = query_length, passage_length
        self.query_rows = queries.rows_of(list(qrels))
        self.ids = [passages.external_id(int(row)) for row in rows]

    def __call__(self, model: DualEncoder, device: torch.device) -> float:
        """The measure of a model in evaluation mode, in 32 bit."""
        from bmae_lightning.retrieval.encode import encode_vectors
        from bmae_lightning.retrieval.index.exact import ExactIndex

        def silent(count: int) -> None: ...

        batch_tokens = self.options.batch_tokens
        vectors = encode_vectors(
            model, self.passages, self.rows, self.passage_length, batch_tokens, str(device), silent, passages=True
        )
        encoded = Encoded(*(tensor.numpy() for tensor in vectors.tensors()))
        found = search(
            ExactIndex(), model, encoded, self.queries, self.query_rows, self.query_length, batch_tokens, str(device),
            DEPTH, silent,
        )  # fmt: skip
        run = Run.from_rows(list(self.qrels), self.ids, found.rows, found.scores)
        (value,) = evaluate(self.qrels, run, [self.options.measure]).mean.values()
        return value
