"""What a fine-tuning stage looks at while it trains: some queries, ranked over a part of the corpus, and measured.

The ranking is exact and the measure that of the evaluate stages; only the corpus is smaller, so values are higher than
theirs and good for comparing steps of one run (finetuning §9.3: checkpoints are chosen on queries that are not reported).
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.evaluation.measure.ranking import TRAIN, canonical, check_measures, evaluate
from bmae_lightning.evaluation.measure.trec import Qrels, Run
from bmae_lightning.lit.validation import Looks
from bmae_lightning.retrieval.dual_encoder import DualEncoder
from bmae_lightning.retrieval.encode import Encoded, encode_vectors
from bmae_lightning.retrieval.index.exact import ExactIndex
from bmae_lightning.retrieval.negatives.source import QueryShare
from bmae_lightning.retrieval.search import search
from bmae_lightning.runtime.checks import choice
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.process import print_once
from bmae_lightning.runtime.stage import require_splits
from bmae_lightning.stage.prepared import Prepared

DEV = "dev"
KEEP = ("last", "best")
DEPTH = 1000
"""Ranks that a measure sees, as in the papers' evaluation."""


class Validation:
    """`validation:` of a fine-tuning stage.

    Args:
        every: steps between two looks, below 1 a share of all steps, None for none.
        split: whose queries; `train`: some are held out of training; None: dev, and no look where there is none.
        queries: how many of them, drawn by the seed.
        passages: size of the corpus that is ranked, None for all: what is judged for these queries, then what the
            stage's ranking has on top for them, then others drawn by the seed.
        measure: in the words of ir_measures.
        patience: looks without a better value before training stops, None not to stop.
        keep: which weights become the retriever, `last` or `best`.
        reported: splits by which nothing may be chosen.
        batch_tokens: word pieces encoded at a time.
    """

    def __init__(
        self, every: float | None = None, split: str | None = None, queries: int = 500, passages: int | None = 20_000,
        measure: str = "RR@10", patience: int | None = None, keep: str = "last", reported: Sequence[str] = (),
        batch_tokens: int = 4096,
    ) -> None:  # fmt: skip
        if every is not None and (every <= 0 or every > 1 and every != int(every)):
            raise ValueError(f"every must be a number of steps, or below 1 a share of them, got {every}")
        choice(KEEP, keep=keep)
        sizes = {"queries": queries, "passages": passages, "patience": patience, "batch_tokens": batch_tokens}
        for name, value in sizes.items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        for name, asked in {"patience": patience is not None, "keep=best": keep == "best"}.items():
            if asked and every is None:
                raise ValueError(f"{name} needs looks: set every, the steps between two of them")
        self.every, self.split, self.queries, self.passages = every, split, queries, passages
        self.measure, self.patience, self.keep = measure, patience, keep
        self.reported, self.batch_tokens = reported, batch_tokens

    def preflight(self, stage: str, splits: list[str]) -> None:
        """Look ahead before anything runs.

        Raises:
            BadInput: an unknown measure, or no queries to look at where the result depends on them.
        """
        check_measures([self.measure])
        if self.every is None:
            return
        split, chooses = self.split or DEV, self.patience is not None or self.keep == "best"
        if self.split is not None:
            require_splits(f"{stage}.validation.split", [self.split], splits)
        elif chooses and DEV not in splits:
            raise BadInput(
                f"{stage}.validation: the corpus has no judgments for the split {DEV!r} (qrels/{DEV}.tsv); set "
                f"{stage}.validation.split=train to hold queries out of training"
            )
        if chooses and split in self.reported:
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
        if self.split is None and DEV not in prepared.splits:
            print_once(
                f"{title}: no validation, the corpus has no split {DEV!r} (validation.split=train holds queries out of "
                "training)"
            )
            return None, {}
        split = self.split or DEV
        qrels = prepared.qrels(split)
        if split == TRAIN and train_queries is not None:
            qrels = train_queries.of(qrels)
        judged = {query: marks for query, marks in qrels.items() if any(grade > 0 for grade in marks.values())}
        if not judged:
            if self.split is not None or self.patience is not None or self.keep == "best":
                raise BadInput(
                    f"validation: the split {split!r} has no judgments; set validation.split=train to hold queries out of "
                    "training"
                )
            print_once(
                f"{title}: no validation, the split {split!r} has no judgments (validation.split=train is one way)"
            )
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
        passages = prepared.passages()
        rows = sample_passages(qrels, run, passages, self.passages, seed)
        sample = Sample(
            qrels, prepared.queries(), passages, rows, self.measure, query_length, passage_length, self.batch_tokens
        )
        (name,) = canonical([self.measure])
        every = max(1, round(self.every * steps)) if self.every < 1 else int(self.every)
        return Looks(sample, name, every, steps, self.patience, self.keep == "best", directory)


def sample_passages(qrels: Qrels, run: Run, passages: TokenStore, size: int | None, seed: int) -> np.ndarray:
    """Rows, ascending, of all judged passages, then of the run's by rank, then of random ones, `size` in all if possible."""
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
        rows: of the passages to be ranked, ascending.
        measure: in the words of ir_measures.
        query_length, passage_length: word pieces with [CLS] and [SEP].
        batch_tokens: word pieces encoded at a time.
    """

    def __init__(
        self, qrels: Qrels, queries: TokenStore, passages: TokenStore, rows: np.ndarray, measure: str,
        query_length: int, passage_length: int, batch_tokens: int,
    ) -> None:  # fmt: skip
        self.qrels, self.queries, self.passages, self.rows, self.measure = qrels, queries, passages, rows, measure
        self.query_length, self.passage_length, self.batch_tokens = query_length, passage_length, batch_tokens
        self.query_rows = np.array([queries.row_of(query) for query in qrels])
        self.ids = [passages.external_id(int(row)) for row in rows]

    def __call__(self, model: DualEncoder, device: torch.device) -> float:
        """The measure of a model in evaluation mode, in 32 bit."""

        def silent(count: int) -> None: ...

        vectors = encode_vectors(
            model, self.passages, self.rows, self.passage_length, self.batch_tokens, str(device), silent, passages=True
        )
        encoded = Encoded(*(tensor.numpy() for tensor in vectors.tensors()))
        found = search(
            ExactIndex(), model, encoded, self.queries, self.query_rows, self.query_length, self.batch_tokens,
            str(device), DEPTH, silent,
        )  # fmt: skip
        run = Run.from_rows(list(self.qrels), self.ids, found.rows, found.scores)
        (value,) = evaluate(self.qrels, run, [self.measure]).mean.values()
        return value
