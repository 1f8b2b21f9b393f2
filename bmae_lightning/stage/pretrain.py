"""Pre-train an encoder with a bottlenecked masked auto-encoder; hand on the encoder, keep the decoders beside it."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from bmae_lightning.encoder.model import Encoder
from bmae_lightning.encoder.pretrained import PretrainedEncoder
from bmae_lightning.encoder.scratch import ScratchEncoder
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.lit.data import TrainingData
from bmae_lightning.lit.diagnostics import Diagnostics
from bmae_lightning.lit.fit import check_trainer, fit
from bmae_lightning.lit.metrics import read_metrics
from bmae_lightning.lit.optimisation import AdamW, LinearSchedule, number_of_steps
from bmae_lightning.lit.pretrain import PretrainModule
from bmae_lightning.lit.resume import check_architecture
from bmae_lightning.lit.snapshots import Snapshots
from bmae_lightning.pretraining.bmae import BottleneckMAE, check, used_views
from bmae_lightning.pretraining.bottleneck import ClsBottleneck, MeanBottleneck
from bmae_lightning.pretraining.decoder.decoder import Decoder
from bmae_lightning.pretraining.generator.generator import Generator
from bmae_lightning.pretraining.loss.normalise import NORMS
from bmae_lightning.pretraining.objective.objective import Objective
from bmae_lightning.pretraining.view import View
from bmae_lightning.report.tracking.loggers import Tracking
from bmae_lightning.retrieval.retriever_config import RetrieverSpec
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import replacing, write_json
from bmae_lightning.runtime.process import print_once, process_rank
from bmae_lightning.runtime.stage import Context, Stage
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.streams import PassageBatches, check_crop, check_needs, needs, open_streams


class Pretrain(Stage):
    """Writes encoder/ (Hugging Face format with tokenizer), decoders.safetensors, metrics.jsonl, samples.json, and
    step-K/encoder/ along the way where `keep_every` asks for it.

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
        decay_steps: int | None = None,
        crop: str = "right",
        generator: Generator | None = None,
        workers: int = 0,
        log_every: int = 1,
        samples: int = 4,
        diagnostics: dict[str, Any] | None = None,
        keep_every: int | None = None,
    ) -> None:
        if length < 4:
            raise ValueError(f"length={length} leaves no room for a text between [CLS] and [SEP]")
        if loss_norm not in NORMS:
            raise ValueError(f"loss_norm must be one of {', '.join(NORMS)}, got {loss_norm!r}")
        self.look_every = check_diagnostics({"every": 0} if diagnostics is None else diagnostics)
        if keep_every is not None and keep_every < 1:
            raise ValueError(f"keep_every must be at least 1 step, or null for the last encoder only, got {keep_every}")
        number_of_steps(steps, epochs, 1, 1)
        check(view, decoders, generator)
        used_views(view, decoders, objective)
        self.objective, self.generator = objective, generator
        self.crop, self.decay_steps = check_crop(crop), decay_steps
        self.encoder, self.bottleneck, self.view, self.decoders = encoder, bottleneck, view, decoders
        self.optim, self.schedule, self.trainer, self.logger = optim, schedule, trainer, logger
        self.seed, self.length, self.batch_size, self.lr, self.warmup = seed, length, batch_size, lr, warmup
        self.weight_decay, self.checkpoint, self.steps, self.epochs = weight_decay, checkpoint, steps, epochs
        self.loss_norm, self.decoders_from = loss_norm, decoders_from
        self.workers, self.log_every, self.samples, self.keep_every = workers, log_every, samples, keep_every

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

    def check_inputs(self, inputs: Mapping[str, object]) -> None:
        check_needs(needs(self.view, self.decoders, self.objective), inputs)

    def run(self, context: Context) -> None:
        prepared = Prepared(context.input("corpus"))
        vocabulary = Vocabulary(prepared.tokenizer())
        torch.manual_seed(self.seed)
        masked_lm, new = self.encoder.masked_lm(vocabulary.size)
        if new:
            print_once(f"{context.title}: new parameters, not in the checkpoint: {_shorten(new)}")
        if self.generator is not None:
            self.generator.build(prepared.tokenizer(), context.inputs.get("generator"))
        model = BottleneckMAE(
            Encoder(masked_lm, vocabulary), self.bottleneck, self.view, self.decoders, self.seed, self.objective,
            self.generator,
        )  # fmt: skip
        self._load_decoders(model)
        streams = open_streams(needs(self.view, self.decoders, self.objective), prepared, context.inputs)
        store = prepared.passages()
        steps = number_of_steps(self.steps, self.epochs, len(store), self.batch_size)
        collate = PassageBatches(streams, vocabulary, self.length, self.crop, self.seed)
        data = TrainingData(collate, len(store), self.batch_size, steps, self.seed, self.workers)
        module = PretrainModule(
            model, self.optim, self.schedule, self.lr, self.weight_decay, self.warmup,
            max(steps, self.decay_steps or 0), self.loss_norm,
        )  # fmt: skip
        save = partial(self._save_encoder, model, prepared)
        snapshots = [Snapshots(context.directory, self.keep_every, save)] if self.keep_every else []
        diagnostics = [Diagnostics(self.look_every, steps)] if self.look_every else []
        with self.logger.of(context) as loggers:
            fit(
                self.trainer, module, data, loggers, context.directory, context.title,
                self.log_every, self.checkpoint, "passages", diagnostics + snapshots,
            )  # fmt: skip
            if process_rank() == 0:
                self._finish(context, prepared, model, collate, loggers)

    def _load_decoders(self, model: BottleneckMAE) -> None:
        if self.decoders_from:
            state = load_file(self.decoders_from)
            check_architecture(state, model.decoders.state_dict(), Path(self.decoders_from))
            model.decoders.load_state_dict(state)

    def _save_encoder(self, model: BottleneckMAE, prepared: Prepared, directory: Path) -> None:
        model.encoder.masked_lm.save_pretrained(directory)
        prepared.tokenizer().save_pretrained(directory)
        RetrieverSpec(self.bottleneck.pooling, prepared.passages().tokenizer_digest).save(directory)

    def _finish(
        self, context: Context, prepared: Prepared, model: BottleneckMAE, collate: PassageBatches, loggers: list
    ) -> None:
        directory = context.directory
        model.eval().cpu()
        with replacing(directory / "encoder") as made:
            self._save_encoder(model, prepared, made)
        tokenizer, store = prepared.tokenizer(), prepared.passages()
        with replacing(directory / "decoders.safetensors") as made:
            save_file(model.decoders.state_dict(), made)
        rows = np.linspace(0, len(store) - 1, min(self.samples, len(store))).astype(int)
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


def check_diagnostics(options: Any) -> int:
    """Steps between two diagnoses, 0 for none; ValueError for anything but {every: N}."""
    every = options.get("every") if isinstance(options, dict) and len(options) == 1 else None
    if not isinstance(every, int) or isinstance(every, bool) or every < 0:
        raise ValueError(f"diagnostics must be {{every: N}} with a number of steps, 0 for none, got {options}")
    return every


def _shorten(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
