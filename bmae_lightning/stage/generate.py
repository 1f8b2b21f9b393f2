"""Have teachers write queries and a continuation for every passage: the outside texts of MASTER's decoders.

Not to be confused with the option `generator` of pre-training: the small masked language model whose draws replace
tokens (ELECTRA's word).
"""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmae_lightning.encoder.checkpoint import shape_of
from bmae_lightning.lit.fit import make_trainer
from bmae_lightning.lit.metrics_file import read_metrics
from bmae_lightning.lit.optimisation import Optimisation
from bmae_lightning.pretraining.generate.file import TextFile
from bmae_lightning.pretraining.generate.record import Generated
from bmae_lightning.pretraining.generate.shards import TextShards
from bmae_lightning.pretraining.generate.streams import write_streams
from bmae_lightning.report.tracking.loggers import log_table, under
from bmae_lightning.runtime.checks import at_least
from bmae_lightning.runtime.cost import READ, Cost, Sizes
from bmae_lightning.runtime.files import replacing, write_json
from bmae_lightning.runtime.process import made_by_first, print_once, process_rank
from bmae_lightning.runtime.progress import track
from bmae_lightning.runtime.stage import Context, require_splits
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.training import FittingStage

if TYPE_CHECKING:
    from bmae_lightning.pretraining.generate.pretrained import PretrainedTeacher
    from bmae_lightning.pretraining.generate.trained import TrainedTeacher
    from bmae_lightning.pretraining.generate.writer import Writer


@dataclass(kw_only=True)
class Generate(FittingStage):
    """Writes queries/ and continuation/ (token stores), generated.jsonl, examples.json, and teachers/ where it trains.

    The fields are the options of `conf/stages/generate.yaml` and of the group `generate`: either the two teachers, one
    of which may be left out, or `texts`. The optimiser, its schedule and the checkpoints are those of teachers trained
    here; `batch_size` counts passages written about at a time, on each device.
    """

    shard: int
    queries: PretrainedTeacher | TrainedTeacher | None = None
    continuation: PretrainedTeacher | TrainedTeacher | None = None
    texts: TextFile | None = None
    samples: int = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, shard=self.shard)
        at_least(0, samples=self.samples)
        if bool(self.teachers) == (self.texts is not None):
            raise ValueError("give teachers (queries, continuation) or a file (texts): generate=trained|hf|file")
        if self.continuation is not None and (count := self.continuation.sampling.count) != 1:
            raise ValueError(f"continuation.sampling.count={count}: a passage has one continuation")

    @property
    def teachers(self) -> dict[str, PretrainedTeacher | TrainedTeacher]:
        """Who writes what, `queries` and `continuation`."""
        given = {"queries": self.queries, "continuation": self.continuation}
        return {role: teacher for role, teacher in given.items() if teacher is not None}

    def preflight(self, splits: list[str]) -> None:
        from bmae_lightning.pretraining.generate.pretrained import PretrainedTeacher

        if self.texts is not None:
            self.texts.check()
        for role, teacher in self.teachers.items():
            if isinstance(teacher, PretrainedTeacher):
                teacher.find(f"generate.{role}")
            elif teacher.needs_pairs:
                require_splits(f"generate.{role}", [teacher.split], splits)
        make_trainer(self.trainer, "generate")

    def cost(self, sizes: Sizes, inputs: Mapping[str, Any]) -> Cost:
        """Teachers that are trained here are small, and only what they write is counted."""
        flops = 0.0
        for teacher in self.teachers.values():
            network, drawn = shape_of(teacher), teacher.sampling
            tokens = sizes.tokens(teacher.length) + drawn.count * drawn.tokens
            flops += READ * sizes.passages * tokens * (network.body + network.head)
        return Cost(encoded=sizes.passages * len(self.teachers), flops=flops)

    def run(self, context: Context) -> None:
        from bmae_lightning.lit.generate import generate

        prepared = Prepared(context.input("corpus"))
        passages = prepared.passages()
        with self.logger.of(context) as loggers:
            if self.texts is not None:
                sources = dict.fromkeys(("queries", "continuation"), self.texts.description)
                records: Iterable[Generated] = self.texts.read(passages)
            else:
                sources = {role: teacher.description for role, teacher in self.teachers.items()}
                shards = TextShards(context.directory / "checkpoints", len(passages), self.shard)
                writers = {role: self._writer(context, prepared, role, loggers) for role in self.teachers}
                generate(
                    self.trainer, writers, shards, prepared.texts, self.batch_size, self.seed, context.title,
                    context.directory,
                )  # fmt: skip
                records = shards.read()
            if process_rank() == 0:
                self._finish(context, prepared, records, sources, loggers)

    def _writer(self, context: Context, prepared: Prepared, role: str, loggers: list) -> Writer:
        """A teacher, loaded; one that must be trained first is trained by the first process alone."""
        from bmae_lightning.pretraining.generate.pretrained import PretrainedTeacher

        teacher, key = self.teachers[role], f"generate.{role}"
        if isinstance(teacher, PretrainedTeacher):
            return teacher.writer(key)
        directory = context.directory / "teachers" / role
        if not made_by_first(directory / "model"):
            self._train(context, prepared, role, teacher, loggers, directory)
        return teacher.writer(directory / "model", key)

    def _train(
        self, context: Context, prepared: Prepared, role: str, teacher: TrainedTeacher, loggers: list, directory: Path
    ) -> None:
        from bmae_lightning.lit.data import TrainingData
        from bmae_lightning.lit.generate import TeacherModule, on_one_device

        directory.mkdir(parents=True, exist_ok=True)
        tokenizer = prepared.tokenizer()
        qrels = prepared.qrels(teacher.split) if teacher.needs_pairs else {}
        collate, items = teacher.examples(prepared.passages(), prepared.queries(), qrels, tokenizer.sep_token_id)
        model = teacher.model(tokenizer, self.seed)
        optimisation = Optimisation(
            self.optim, self.schedule, teacher.lr, teacher.weight_decay, teacher.warmup, teacher.steps
        )
        data = TrainingData(collate, items, teacher.batch_size, teacher.steps, self.seed, workers=0)
        self.fit(
            TeacherModule(model, optimisation, role), data, under(loggers, role), directory,
            f"{context.title}: teacher of {role}", "texts", trainer=on_one_device(self.trainer),
        )  # fmt: skip
        with replacing(directory / "model") as temporary:
            teacher.save(model.cpu(), tokenizer, temporary)
        shutil.rmtree(directory / "checkpoints", ignore_errors=True)

    def _finish(
        self, context: Context, prepared: Prepared, records: Iterable[Generated], sources: dict[str, str], loggers: list
    ) -> None:
        directory, passages = context.directory, prepared.passages()
        with track(f"{context.title}: tokenising", len(passages), unit="passages") as advance:
            counts = write_streams(directory, records, passages, prepared.tokenizer(), advance)
        results: dict[str, Any] = {"teachers": sources, "passages": len(passages)} | counts
        for role in sources:
            if (path := directory / "teachers" / role / "metrics.jsonl").is_file():
                results[f"loss/{role}"] = read_metrics(path)[-1]["loss"]
        print_once(
            f"{context.title}: {counts['queries']:,} queries for {counts['passages_with_queries']:,} of "
            f"{len(passages):,} passages, {counts['passages_with_continuation']:,} continuations "
            f"({counts['empty_continuations']:,} empty: the passage itself)"
        )
        examples = self._examples(prepared, directory)
        write_json(directory / "examples.json", examples)
        for logger in loggers:
            logger.log_metrics({name: value for name, value in results.items() if not isinstance(value, dict)}, step=0)
        rows = [[e["passage"], "\n".join(e["queries"]), e["continuation"] or ""] for e in examples]
        log_table(loggers, "generated", ["passage", "queries", "continuation"], rows)
        write_json(directory / "metrics.json", results)

    def _examples(self, prepared: Prepared, directory: Path) -> list[dict[str, Any]]:
        """The first passages with what was written about them."""
        with (directory / "generated.jsonl").open(encoding="utf-8") as file:
            lines = [json.loads(line) for line in itertools.islice(file, self.samples)]
        texts = itertools.islice(prepared.texts(), self.samples)
        return [{"passage": text} | line for (_, text), line in zip(texts, lines, strict=True)]
