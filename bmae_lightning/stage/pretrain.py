"""Pre-train an encoder with a bottlenecked masked auto-encoder; hand on the encoder, keep the decoders beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bmae_lightning.encoder.checkpoint import shape_of
from bmae_lightning.encoder.pretrained import PretrainedEncoder
from bmae_lightning.pretraining.loss.normalise import NORMS
from bmae_lightning.report.tracking.loggers import log_table
from bmae_lightning.retrieval.retriever_config import RetrieverConfig
from bmae_lightning.runtime.checks import choice
from bmae_lightning.runtime.cost import READ, TRAINED, Cost, Sizes
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import replacing, write_json
from bmae_lightning.runtime.process import print_once, process_rank
from bmae_lightning.runtime.snapshots import kept_steps
from bmae_lightning.runtime.stage import Context
from bmae_lightning.stage.initial_weights import EncoderSource, start_masked_lm, tell_lacks
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.streams import CROPS, Need, PassageBatches, check_needs, needs, open_streams
from bmae_lightning.stage.training import TrainingStage
from bmae_lightning.stage.unmaskable import count_unmaskable

if TYPE_CHECKING:
    from pytorch_lightning import Callback

    from bmae_lightning.encoder.vocabulary import Vocabulary
    from bmae_lightning.pretraining.bmae import BottleneckMAE
    from bmae_lightning.pretraining.bottleneck import ClsBottleneck, MeanBottleneck
    from bmae_lightning.pretraining.decoder.decoder import Decoder
    from bmae_lightning.pretraining.generator.generator import Generator
    from bmae_lightning.pretraining.objective.objective import Objective
    from bmae_lightning.pretraining.view import View


@dataclass(kw_only=True)
class Pretrain(TrainingStage):
    """Writes encoder/ (Hugging Face format with tokenizer), decoders.safetensors, metrics.jsonl, samples.json, and
    step-K/encoder/ along the way where `keep_every` asks for it.

    The fields are the options of `conf/stages/pretrain.yaml`.
    """

    hub = ("start",)

    encoder: EncoderSource
    bottleneck: ClsBottleneck | MeanBottleneck
    view: dict[str, View]
    decoders: dict[str, Decoder]
    objective: Objective
    length: int
    start: str | None = None
    loss_norm: str = "global_mean"
    decoders_from: str | None = None
    decay_steps: int | None = None
    separator: bool = True
    crop: str = "right"
    generator: Generator | None = None
    samples: int = 4
    diagnostics: dict[str, Any] = field(default_factory=lambda: {"every": 0})
    keep_every: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.length < 4:
            raise ValueError(f"length={self.length} leaves no room for a text between [CLS] and [SEP]")
        choice(CROPS, crop=self.crop)
        choice(NORMS, loss_norm=self.loss_norm)
        if (every := self.keep_every) is not None and (every <= 0 or every > 1 and every != int(every)):
            raise ValueError(
                "keep_every must be a number of steps, below 1 a share of them, or null for the last encoder only, got "
                f"{every}"
            )
        check_diagnostics(self.diagnostics)
        self._check_parts()

    def _check_parts(self) -> None:
        from bmae_lightning.pretraining.bmae import check, used_views

        check(self.view, self.decoders, self.generator)
        for name, decoder in self.decoders.items():
            decoder.check_norm(self.loss_norm, f"decoders.{name}")
        used_views(self.view, self.decoders, self.objective)

    def preflight(self, splits: list[str]) -> None:
        if self.decoders_from and not Path(self.decoders_from).is_file():
            raise BadInput(f"pretrain.decoders_from={self.decoders_from}: there is no such file")
        self._check_size(self.encoder)
        if self.generator is not None:
            self.generator.preflight(self.encoder.tokenizer)
        super().preflight(splits)

    def _check_size(self, encoder: EncoderSource) -> None:
        depth, positions, copies = encoder.dimensions()
        if self.length > positions:
            raise BadInput(f"{self.name}.length={self.length}: the encoder has only {positions} positions")
        for name, decoder in self.decoders.items():
            try:
                decoder.fit(depth, copies)
            except ValueError as error:
                raise BadInput(f"decoders.{name}: {error}") from error

    def check_inputs(self, inputs: Mapping[str, object]) -> None:
        check_needs(self._needs(), inputs)
        if self.start:
            self._check_size(
                PretrainedEncoder(
                    self.start,
                    self.encoder.tokenizer,
                    key=f"{self.name}.start",
                    family=self.encoder.family,
                )
            )

    def cost(self, sizes: Sizes, inputs: Mapping[str, Any]) -> Cost:
        """Every view is an encoder pass; heads are counted at every position, and all streams as long as a passage."""
        from bmae_lightning.pretraining.bmae import used_views

        steps, network = self.estimated_steps(sizes.passages), shape_of(self.encoder)
        views = used_views(self.view, self.decoders, self.objective).values()
        heads = len(views) * bool(self.objective.weight and self.objective.uses_head) + sum(
            part.names_tokens for part in self.decoders.values()
        )
        layers = sum(getattr(part, "layers", 0) for part in self.decoders.values())
        weights = TRAINED * (len(views) * network.body + layers * network.layer + heads * network.head)
        if self.generator is not None:
            parts = (part.corruption for part in (*views, *self.decoders.values()) if hasattr(part, "corruption"))
            small, learning = shape_of(self.generator), TRAINED if self.generator.trained else READ
            weights += learning * (small.body + small.head) * sum(corruption.generates for corruption in parts)
        kept = 1 + (steps if (every := self.keep_every or math.inf) >= 1 else 1) // every
        passages, disk = steps * self.batch_size, kept * network.bytes + 4 * layers * network.layer
        return Cost(steps, passages, flops=passages * sizes.tokens(self.length) * weights, disk=disk)

    def run(self, context: Context) -> None:
        from safetensors.torch import save_file

        from bmae_lightning.encoder.vocabulary import Vocabulary
        from bmae_lightning.lit.pretrain import Diagnostics, PretrainModule, Snapshots

        prepared = Prepared(context.input("corpus"))
        vocabulary, items = Vocabulary(prepared.tokenizer()), len(prepared.passages())
        steps = self.steps_over(items)
        model = self._model(context, prepared, vocabulary)
        streams = open_streams(self._needs(), prepared, context.inputs)
        separator = self.separator or prepared.record["title"] != "pair"  # no other titles leave one
        collate = PassageBatches(streams, vocabulary, self.length, self.crop, self.seed, separator)
        unmaskable = count_unmaskable(dict(model.views.items()), self.decoders, collate, items, context.title)
        module = PretrainModule(model, self.optimisation(max(steps, self.decay_steps or 0)), self.loss_norm)
        callbacks: list[Callback] = [Diagnostics(every, steps)] if (every := self.diagnostics["every"]) else []
        if self.keep_every:
            save = partial(self._save_encoder, model, prepared)
            callbacks.append(Snapshots(context.directory, kept_steps(self.keep_every, steps), save))
        with self.logger.of(context) as loggers:
            self.fit(
                module, self.data(collate, items, steps), loggers, context.directory, context.title, "passages",
                callbacks,
            )  # fmt: skip
            if process_rank() == 0:
                model.eval().cpu()
                self._save_encoder(model, prepared, context.directory / "encoder")
                with replacing(context.directory / "decoders.safetensors") as made:
                    save_file(model.decoders.state_dict(), made)
                self._write_samples(context, prepared, model, collate, loggers)
                self.write_results(context, **({"unmaskable": unmaskable} if unmaskable else {}))

    def _needs(self) -> list[Need]:
        return needs(self.view, self.decoders, self.objective)

    def _model(self, context: Context, prepared: Prepared, vocabulary: Vocabulary) -> BottleneckMAE:
        """The model at the first step: the seed makes what no checkpoint has."""
        import torch
        from safetensors.torch import load_file

        from bmae_lightning.encoder.model import Encoder
        from bmae_lightning.lit.resume import check_architecture
        from bmae_lightning.pretraining.bmae import BottleneckMAE

        torch.manual_seed(self.seed)
        digest = prepared.passages().tokenizer_digest
        masked_lm, new = start_masked_lm(context, self.encoder, vocabulary, digest, self.bottleneck.pooling, self.start)
        if new:
            print_once(f"{context.title}: new parameters, not in the checkpoint: {_shorten(new)}")
        if self.generator is not None:
            self.generator.build(prepared.tokenizer(), context.inputs.get("generator"))
        model = BottleneckMAE(
            Encoder(masked_lm, vocabulary, self.encoder.packed), self.bottleneck, self.view, self.decoders, self.seed,
            self.objective, self.generator,
        )  # fmt: skip
        tell_lacks(context, prepared, model.encoder, any(view.segments for view in self.view.values()))
        if self.decoders_from:
            state = load_file(self.decoders_from)
            check_architecture(state, model.decoders.state_dict(), Path(self.decoders_from))
            model.decoders.load_state_dict(state)
        return model

    def _save_encoder(self, model: BottleneckMAE, prepared: Prepared, directory: Path) -> None:
        with replacing(directory) as made:
            model.encoder.masked_lm.save_pretrained(made)
            prepared.tokenizer().save_pretrained(made)
            RetrieverConfig(self.bottleneck.pooling, prepared.passages().tokenizer_digest).save(made)

    def _write_samples(
        self, context: Context, prepared: Prepared, model: BottleneckMAE, collate: PassageBatches, loggers: list
    ) -> None:
        """samples.json: passages from all over the corpus as they were, masked, and as the decoders rebuild them."""
        import torch

        tokenizer, items = prepared.tokenizer(), len(prepared.passages())
        rows = np.linspace(0, items - 1, min(self.samples, items)).astype(int)
        samples = []
        if len(rows):
            with torch.no_grad():
                for sample in model.rebuild(collate([(int(row), 0) for row in rows]), len(rows)):
                    masked = next(iter(sample.masked.values()))
                    rebuilt = {name: tokenizer.decode(ids) for name, ids in sample.rebuilt.items()}
                    texts = {"original": tokenizer.decode(sample.original), "masked": tokenizer.decode(masked)}
                    samples.append(texts | {"rebuilt": rebuilt})
        write_json(context.directory / "samples.json", samples)
        columns = ["original", "masked", *(samples[0]["rebuilt"] if samples else ())]
        table = [[s["original"], s["masked"], *s["rebuilt"].values()] for s in samples]
        log_table(loggers, "masked and rebuilt", columns, table)


def check_diagnostics(options: Any) -> None:
    """Raise ValueError for anything but {every: N}, N steps between two diagnoses, 0 for none."""
    every = options.get("every") if isinstance(options, dict) and len(options) == 1 else None
    if not isinstance(every, int) or isinstance(every, bool) or every < 0:
        raise ValueError(f"diagnostics must be {{every: N}} with a number of steps, 0 for none, got {options}")


def _shorten(names: list[str], most: int = 3) -> str:
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
