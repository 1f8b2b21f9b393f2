"""Iterative mining (ANCE, finetuning §4.1): a retriever that is being trained ranks the corpus for its training queries again
and again, and goes on with the hard negatives of its newest ranking.

Training runs in segments. Round 0 is the ranking that the stage was given; round k is made by the weights at the end of
segment k - 1. Optimiser, schedule and order of the queries go on as if there were one segment.
"""

import shutil
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch

from bmae_lightning.evaluation.measure.ranking import TRAIN
from bmae_lightning.evaluation.measure.trec import write_run
from bmae_lightning.lit.share import Process, share
from bmae_lightning.retrieval.dual_encoder import DualEncoder
from bmae_lightning.retrieval.encode import encode_shards
from bmae_lightning.retrieval.index.exact import ExactIndex
from bmae_lightning.retrieval.negatives.source import Groups
from bmae_lightning.retrieval.retriever_config import RetrieverConfig
from bmae_lightning.retrieval.search import FoundShards, search
from bmae_lightning.retrieval.vector_files import VectorShards
from bmae_lightning.runtime.process import print_once, process_rank
from bmae_lightning.stage.answer_judgments import judge_by_answers
from bmae_lightning.stage.mined_negatives import read_mined
from bmae_lightning.stage.prepared import Prepared


class Refresh:
    """`refresh:` of a fine-tuning stage.

    Args:
        every_steps: steps between two rankings.
        every_epochs: the same in passes over the training queries; both None for no ranking but the given one.
        depth: ranks kept, positives among them.
        batch_tokens: word pieces encoded at a time.
        shard, query_shard: passages encoded and queries searched for per finished piece.
    """

    def __init__(
        self, every_steps: int | None = None, every_epochs: float | None = None, depth: int = 200,
        batch_tokens: int = 4096, shard: int = 65_536, query_shard: int = 4096,
    ) -> None:  # fmt: skip
        if every_steps is not None and every_epochs is not None:
            raise ValueError(f"give either every_steps or every_epochs, got {every_steps} and {every_epochs}")
        if every_epochs is not None and every_epochs <= 0:
            raise ValueError(f"every_epochs must be above 0, got {every_epochs}")
        sizes = {"every_steps": every_steps, "depth": depth, "batch_tokens": batch_tokens}
        for name, value in (sizes | {"shard": shard, "query_shard": query_shard}).items():
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        self.every_steps, self.every_epochs, self.depth = every_steps, every_epochs, depth
        self.batch_tokens, self.shard, self.query_shard = batch_tokens, shard, query_shard

    @property
    def on(self) -> bool:
        return self.every_steps is not None or self.every_epochs is not None

    def ends(self, steps: int, queries: int, batch_size: int) -> list[int]:
        """The last step of every segment."""
        if not self.on:
            return [steps]
        every = self.every_steps or self.every_epochs * queries / batch_size
        inner = (int(np.ceil(every * count)) for count in range(1, int(steps / every) + 1))
        return [*sorted({end for end in inner if end < steps}), steps]


class Rounds:
    """The rankings of one training: `round-<k>/run.train.trec` in the stage's directory, k from 1.

    Args:
        refresh: its options.
        directory: of the stage.
        title: of the stage, for messages.
        prepared: the corpus.
        config: lengths of texts.
    """

    def __init__(
        self, refresh: Refresh, directory: Path, title: str, prepared: Prepared, config: RetrieverConfig
    ) -> None:
        self.refresh, self.directory, self.title, self.prepared, self.config = (
            refresh,
            directory,
            title,
            prepared,
            config,
        )

    def forget(self, first: int) -> None:
        """Remove what an earlier attempt made of the rounds from `first` on; it got further than its checkpoints."""
        for directory in (self.directory, self.directory / "checkpoints"):
            for path in directory.glob("round-*"):
                if int(path.name.partition("-")[2]) >= first:
                    shutil.rmtree(path)

    def renew(self, number: int, trainer: partial, model: DualEncoder, groups: Groups) -> bool:
        """Let `groups` draw from a round's ranking, made by `model` if it is not there yet.

        All processes of the trainer share the work, as in the evaluate stage. False in a process that was asked to stop
        and leaves without a word, as the first one says it.

        Raises:
            Interrupted: asked to stop; finished pieces are kept.
        """
        path = self.directory / f"round-{number}" / f"run.{TRAIN}.trec"
        if not path.is_file() and not self._mine(number, path, trainer, model, groups.ids):
            return False
        groups.renew(read_mined(path.parent).negatives, self.refresh.depth)
        print_once(
            f"{self.title}: round {number}, hard negatives from its own ranking; {groups.short:,} queries with fewer than "
            f"{groups.size - 1}"
        )
        return True

    def _mine(self, number: int, path: Path, trainer: partial, model: DualEncoder, ids: Sequence[str]) -> bool:
        """Rank the corpus for the training queries; the vectors are gone afterwards."""
        directory = self.directory / "checkpoints" / path.parent.name
        passages, queries = self.prepared.passages(), self.prepared.queries()
        vectors = VectorShards(
            directory / "passages.npy", model, passages, self.config.passage_length, self.refresh.shard
        )
        rows = np.array([queries.row_of(query) for query in ids])
        ranks = min(self.refresh.depth, len(passages))
        shards = FoundShards(directory / TRAIN, rows, self.refresh.query_shard, ranks)
        if process_rank() == 0:
            directory.mkdir(parents=True, exist_ok=True)
            vectors.claim()
        label, done = f"{self.title}: round {number}", []

        def work(process: Process) -> None:
            process.wait_for(vectors.claimed)
            with process.track(f"{label}, encoding", vectors, "passages") as advance:
                encode_shards(
                    model, passages, vectors, self.config.passage_length, self.refresh.batch_tokens, process.device,
                    advance, process.rank, process.world,
                )  # fmt: skip
            if process.rank == 0:
                process.wait_for(lambda: not vectors.missing())
                vectors.assemble()
            process.wait_for(vectors.complete)
            encoded = vectors.open()
            with process.track(label, shards, "queries") as advance:
                for piece in shards.missing(process.rank, process.world):
                    found = search(
                        ExactIndex(), model, encoded, queries, shards.queries_of(piece), self.config.query_length,
                        self.refresh.batch_tokens, process.device, ranks, advance,
                    )  # fmt: skip
                    shards.write_found(piece, found)
            if process.rank == 0:
                process.wait_for(lambda: not shards.missing())
                path.parent.mkdir(exist_ok=True)
                run = shards.run(list(ids), passages.external_ids)
                if self.prepared.answers(TRAIN):
                    judge_by_answers(path.parent, label, self.prepared, TRAIN, run)
                write_run(path, run, label)
            process.wait_for(path.is_file)
            done.append(True)

        share(trainer, model, work, label, self.directory, precision="32-true")
        if not done:
            return False
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            torch.distributed.barrier()  # nobody looks at the vectors any more
        if process_rank() == 0:
            shutil.rmtree(directory)
        return True
