"""Score all pairs with a cross-encoder, on all devices of a trainer."""

from functools import partial
from pathlib import Path

from bmae_lightning.lit.share import Process, share
from bmae_lightning.retrieval.reranking.score_pairs import PairScorer, PairShards


def score_pairs(trainer: partial, scorer: PairScorer, shards: PairShards, label: str, directory: Path) -> None:
    """Write every shard that is not there yet; the first process returns when all are.

    In 32 bit whatever the trainer's precision, as 16 bits would make scores equal.

    Raises:
        BadInput: devices that do not exist.
        Interrupted: asked to stop; finished shards are kept.
    """

    def work(process: Process) -> None:
        with process.track(label, shards, "pairs") as advance:
            for number in shards.missing(process.rank, process.world):
                shards.write(number, scorer(shards.pairs(number), advance, process.device))
        if process.rank == 0:
            process.wait_for(lambda: not shards.missing())

    share(trainer, scorer.model, work, label, directory, precision="32-true")
