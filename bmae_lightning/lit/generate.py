"""Generated texts for all passages, written on all devices of a trainer, and the training of small teachers on one."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.nn import Module, ModuleDict

from bmae_lightning.lit.module import LOSS, TrainedModule
from bmae_lightning.lit.optimisation import Optimisation
from bmae_lightning.lit.share import Process, share
from bmae_lightning.pretraining.generate.record import Generated
from bmae_lightning.pretraining.generate.shards import TextShards
from bmae_lightning.pretraining.generate.trained import IGNORED, Examples
from bmae_lightning.pretraining.generate.writer import Writer

Texts = Callable[[], Iterator[tuple[str, str]]]
"""(id, text) of every passage, from the beginning at each call."""


def generate(
    trainer: partial, writers: dict[str, Writer], shards: TextShards, texts: Texts, batch_size: int, seed: int,
    label: str, directory: Path,
) -> None:  # fmt: skip
    """Write every shard that is not there yet; the first process returns when all are.

    writers: `queries` and `continuation`, or one of them.  batch_size: passages written about at a time.

    Raises:
        BadInput: devices that do not exist.
        Interrupted: asked to stop; finished shards are kept.
    """

    def work(process: Process) -> None:
        with process.track(label, shards, "texts", each=len(writers)) as advance:
            numbers = shards.missing(process.rank, process.world)
            for number, passages in zip(numbers, _passages(texts(), map(shards.rows, numbers)), strict=True):
                shards.write(number, _write(writers, passages, shards.rows(number), batch_size, seed, advance))
        if process.rank == 0:
            process.wait_for(lambda: not shards.missing())

    models = ModuleDict({role: writer.model for role, writer in writers.items()})
    share(trainer, models, work, label, directory)


def _passages(texts: Iterator[tuple[str, str]], wanted: Iterator[range]) -> Iterator[list[tuple[str, str]]]:
    """The texts of rising ranges of rows, read in one pass."""
    read = 0
    for rows in wanted:
        yield list(islice(texts, rows.start - read, rows.stop - read))
        read = rows.stop


def _write(
    writers: dict[str, Writer], passages: list[tuple[str, str]], rows: range, batch_size: int, seed: int,
    advance: Callable[[int], None],
) -> list[Generated]:  # fmt: skip
    """What the writers write about the passages of a shard, the longest ones first."""
    written: dict[str, list[list[str]]] = {role: [[]] * len(passages) for role in writers}
    order = sorted(range(len(passages)), key=lambda i: -len(passages[i][1]))
    for role, writer in writers.items():
        for start in range(0, len(order), batch_size):
            chosen = order[start : start + batch_size]
            texts = writer.write([passages[i][1] for i in chosen], [rows[i] for i in chosen], seed, f"generate/{role}")
            for i, answers in zip(chosen, texts, strict=True):
                written[role][i] = answers
            advance(len(chosen))
    queries = written.get("queries", [[]] * len(passages))
    continuations = written.get("continuation", [[None]] * len(passages))
    return [
        Generated(id, [query for query in queries[i] if query], continuations[i][0])
        for i, (id, _) in enumerate(passages)
    ]


class TeacherModule(TrainedModule):
    """Trains a sequence-to-sequence or causal model of transformers.

    Args:
        model: takes input_ids, attention_mask and labels, returns a loss.
        optimisation: optimiser, schedule and their settings.
        role: what it writes, the name of its loss.
    """

    def __init__(self, model: Module, optimisation: Optimisation, role: str) -> None:
        super().__init__(model, optimisation)
        self.role = role

    def training_step(self, batch: Examples, index: int) -> torch.Tensor:
        loss = self.model(input_ids=batch.input_BL, attention_mask=batch.real_BL, labels=batch.label_BT).loss
        self.parts = {LOSS + self.role: (loss.detach(), (batch.label_BT != IGNORED).sum().float())}
        return loss


def on_one_device(trainer: partial) -> partial:
    """The trainer of the configuration for one device, whatever launched this process."""
    from pytorch_lightning.plugins.environments import LightningEnvironment

    alone: dict[str, Any] = {"devices": 1, "num_nodes": 1, "strategy": "auto", "accumulate_grad_batches": 1}
    return partial(trainer.func, **(trainer.keywords | alone | {"plugins": [LightningEnvironment()]}))
