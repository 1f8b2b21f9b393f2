"""Pre-train an encoder with a bottlenecked masked auto-encoder; hand on the encoder, keep the decoders beside it."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from bmae_lightning.batch import TextBatch
from bmae_lightning.bmae import BottleneckMAE, check
from bmae_lightning.bottleneck import ClsBottleneck, MeanBottleneck
from bmae_lightning.corpus.token_store import TokenStore
from bmae_lightning.decoder.decoder import Decoder
from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.pretrained import PretrainedEncoder
from bmae_lightning.encoder.scratch import ScratchEncoder
from bmae_lightning.errors import BadInput
from bmae_lightning.generator.generator import Generator
from bmae_lightning.lit.data import Item, TrainingData
from bmae_lightning.lit.fit import check_trainer, fit
from bmae_lightning.lit.optimisation import AdamW, LinearSchedule, number_of_steps
from bmae_lightning.lit.pretrain import PretrainModule
from bmae_lightning.lit.reading import read_metrics
from bmae_lightning.lit.resume import check_architecture
from bmae_lightning.loss.normalise import NORMS
from bmae_lightning.objective.objective import Objective
from bmae_lightning.rank import rank, say
from bmae_lightning.spec import RetrieverSpec
from bmae_lightning.stage.context import Context, Stage, write_json
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.tracking.loggers import Tracking
from bmae_lightning.view import View
from bmae_lightning.vocabulary import Vocabulary


class Pretrain(Stage):
    """Writes encoder/ (Hugging Face format with tokenizer), decoders.safetensors, metrics.jsonl, samples.json.

    The arguments are the options of `conf/stages/pretrain.yaml`.
    """

    def __init__(
        self,
        encoder: PretrainedEncoder | ScratchEncoder,
        bottleneck: ClsBottleneck | MeanBottleneck,
        view: dict[str, View],
        decoders: dict[str, Decoder],
        objective: Objective,
        optim: AdamW,
        schedule: LinearSchedule,
        trainer: partial,
        logger: Tracking,
        seed: int,
        length: int,
        batch_size: int,
        lr: float,
        warmup: float,
        weight_decay: float,
        checkpoint: dict[str, Any],
        steps: int | None = None,
        epochs: float | None = None,
        loss_norm: str = "global_mean",
        decoders_from: str | None = None,
        generator: Generator | None = None,
        workers: int = 0,
        log_every: int = 1,
        samples: int = 4,
    ) -> None:
        if length < 4:
            raise ValueError(f"length={length} leaves no room for a text between [CLS] and [SEP]")
        if loss_norm not in NORMS:
            raise ValueError(f"loss_norm must be one of {', '.join(NORMS)}, got {loss_norm!r}")
        number_of_steps(steps, epochs, 1, 1)
        check(view, decoders, generator)
        self.objective, self.generator = objective, generator
        self.encoder, self.bottleneck, self.view, self.decoders = encoder, bottleneck, view, decoders
        self.optim, self.schedule, self.trainer, self.logger = optim, schedule, trainer, logger
        self.seed, self.length, self.batch_size, self.lr, self.warmup = seed, length, batch_size, lr, warmup
        self.weight_decay, self.checkpoint, self.steps, self.epochs = weight_decay, checkpoint, steps, epochs
        self.loss_norm, self.decoders_from = loss_norm, decoders_from
        self.workers, self.log_every, self.samples = workers, log_every, samples

    def preflight(self, splits: list[str]) -> None:
        check_trainer(self.trainer, self.batch_size, "pretrain")
        depth, positions = self.encoder.dimensions()
        if self.length > positions:
            raise BadInput(f"pretrain.length={self.length}: the encoder has only {positions} positions")
        if self.generator is not None:
            self.generator.preflight(self.encoder.tokenizer)
        for name, decoder in self.decoders.items():
            try:
                decoder.fit(depth)
            except ValueError as error:
                raise BadInput(f"decoders.{name}: {error}") from error
        if self.decoders_from and not Path(self.decoders_from).is_file():
            raise BadInput(f"pretrain.decoders_from={self.decoders_from}: there is no such file")

    def run(self, context: Context) -> None:
        prepared = Prepared(context.input("corpus"))
        vocabulary = Vocabulary(prepared.tokenizer())
        torch.manual_seed(self.seed)
        masked_lm, new = self.encoder.masked_lm(vocabulary.size)
        if new:
            say(f"{context.title}: new parameters, not in the checkpoint: {_shorten(new)}")
        if self.generator is not None:
            self.generator.build(prepared.tokenizer(), context.inputs.get("generator"))
        model = BottleneckMAE(
            Encoder(masked_lm, vocabulary), self.bottleneck, self.view, self.decoders, self.seed, self.objective,
            self.generator,
        )  # fmt: skip
        self._load_decoders(model)
        store = prepared.passages()
        steps = number_of_steps(self.steps, self.epochs, len(store), self.batch_size)
        collate = PassageBatches(store, vocabulary, self.length)
        data = TrainingData(collate, len(store), self.batch_size, steps, self.seed, self.workers)
        module = PretrainModule(
            model, self.optim, self.schedule, self.lr, self.weight_decay, self.warmup, steps, self.loss_norm
        )
        with self.logger.of(context) as loggers:
            fit(
                self.trainer, module, data, loggers, context.directory, context.title,
                self.log_every, self.checkpoint, "passages",
            )  # fmt: skip
            if rank() == 0:
                self._finish(context, prepared, model, collate, loggers)

    def _load_decoders(self, model: BottleneckMAE) -> None:
        if self.decoders_from:
            state = load_file(self.decoders_from)
            check_architecture(state, model.decoders.state_dict(), Path(self.decoders_from))
            model.decoders.load_state_dict(state)

    def _finish(
        self, context: Context, prepared: Prepared, model: BottleneckMAE, collate: "PassageBatches", loggers: list
    ) -> None:
        directory = context.directory
        model.eval().cpu()
        model.encoder.masked_lm.save_pretrained(directory / "encoder")
        tokenizer = prepared.tokenizer()
        tokenizer.save_pretrained(directory / "encoder")
        RetrieverSpec(self.bottleneck.pooling, collate.store.tokenizer_digest).save(directory / "encoder")
        save_file(model.decoders.state_dict(), directory / "decoders.safetensors")
        rows = np.linspace(0, len(collate.store) - 1, min(self.samples, len(collate.store))).astype(int)
        samples = []
        if len(rows):
            with torch.no_grad():
                for sample in model.rebuild(collate([(int(row), 0) for row in rows]), len(rows)):
                    masked = next(iter(sample.masked.values()))
                    rebuilt = {name: tokenizer.decode(ids) for name, ids in sample.rebuilt.items()}
                    texts = {"original": tokenizer.decode(sample.original), "masked": tokenizer.decode(masked)}
                    samples.append(texts | {"rebuilt": rebuilt})
        write_json(directory / "samples.json", samples)
        for logger in loggers:
            if samples and hasattr(logger, "log_table"):
                columns = ["original", "masked", *samples[0]["rebuilt"]]
                table = [[s["original"], s["masked"], *s["rebuilt"].values()] for s in samples]
                logger.log_table(key="masked and rebuilt", columns=columns, data=table)
        write_json(directory / "metrics.json", read_metrics(directory / "metrics.jsonl")[-1])


class PassageBatches:
    """Collates (row, epoch) pairs into a `TextBatch` with the stream `passage`.

    Args:
        store: word pieces of the passages.
        vocabulary: for the special ids.
        length: word pieces with [CLS] and [SEP] after which a passage is cut.
    """

    def __init__(self, store: TokenStore, vocabulary: Vocabulary, length: int) -> None:
        self.store, self.vocabulary, self.length = store, vocabulary, length

    def __call__(self, items: Sequence[Item]) -> TextBatch:
        tokens = self.vocabulary.pad([self.store[row] for row, _ in items], self.length)
        rows, epochs = torch.tensor(items, dtype=torch.int64).T
        return TextBatch({"passage": tokens}, rows, epochs)


def _shorten(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
