"""Fine-tune a pre-trained encoder on tasks of GLUE; the best learning rate on dev counts (MASTER, Table 7).

A run is one task at one learning rate; finished runs are skipped, an interrupted one continues from its checkpoint.
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bmae_lightning.corpus.tokens.tokenise import ContentTokenizer
from bmae_lightning.encoder.checkpoint import shape_of
from bmae_lightning.evaluation.glue.data import TASKS, Example, Examples, Task, find_tasks, open_glue
from bmae_lightning.evaluation.glue.measures import glue_scores, mean_score
from bmae_lightning.runtime.cost import TRAINED, Cost, Sizes
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import read_json, write_json
from bmae_lightning.runtime.process import print_once, process_rank
from bmae_lightning.runtime.stage import Context
from bmae_lightning.runtime.table import Column, Table, write_tables
from bmae_lightning.stage.initial_weights import EncoderSource, start_encoder
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.training import TrainingStage

if TYPE_CHECKING:
    from bmae_lightning.encoder.vocabulary import Vocabulary
    from bmae_lightning.lit.classifier import LabelledTexts

RESULT = "result.json"
MEAN = "mean"


@dataclass(kw_only=True)
class Glue(TrainingStage):
    """Writes runs/TASK-RATE/result.json and, over the best rate of every task, metrics.json and tables.json.

    No model is kept.

    The fields are the options of `conf/stages/glue.yaml`; a run has one rate of `lr`.
    """

    encoder: EncoderSource
    path: str | None
    tasks: list[str]
    lr: list[float]
    length: int
    train_examples: int | None = None
    dev_examples: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        self.found, self.source = find_tasks(self.tasks), open_glue(self.path)
        self.limits = {"train": self.train_examples, "dev": self.dev_examples}
        if not self.lr:
            raise ValueError("lr is empty: name the learning rates to choose from, as [5e-5,2e-5]")
        if self.length < 5:
            raise ValueError(f"length must leave room for [CLS], two [SEP] and two word pieces (5), got {self.length}")
        for split, limit in self.limits.items():
            if limit is not None and limit < 2:
                raise ValueError(f"{split}_examples must be at least 2, or null for all, got {limit}")

    @classmethod
    def published_heads(cls, config: Mapping[str, Any]) -> tuple[str, ...]:
        return (*TASKS, MEAN)

    def preflight(self, splits: list[str]) -> None:
        if self.length > (positions := self.encoder.dimensions()[1]):
            raise BadInput(f"{self.name}.length={self.length}: the encoder has only {positions} positions")
        for task in self.found:
            for split in self.limits:
                self.source.read(task, split)
        super().preflight(splits)

    def cost(self, sizes: Sizes, inputs: Mapping[str, Any]) -> Cost:
        """Examples as published, all of full length."""
        examples = [min(task.published[0], self.train_examples or task.published[0]) for task in self.found]
        steps = len(self.lr) * sum(map(self.estimated_steps, examples))
        texts = steps * self.batch_size
        return Cost(0, 0, steps, texts, flops=TRAINED * texts * self.length * shape_of(self.encoder).body)

    def run(self, context: Context) -> None:
        prepared = Prepared(context.input("corpus"))
        with self.logger.of(context) as loggers:
            for task in self.found:
                self._task(context, prepared, task)
            if process_rank() == 0:
                results = {task.name: self._best(context, task) for task in self.found}
                mean = mean_score([result["scores"] for result in results.values()])
                write_json(context.directory / "metrics.json", {"tasks": results, "mean": mean})
                write_tables(context.directory, [scores_table(results, mean)])
                values = {f"{name}/{m}": v for name, result in results.items() for m, v in result["scores"].items()}
                for logger in loggers:
                    logger.log_metrics(values | {"mean": mean}, step=0)

    def _task(self, context: Context, prepared: Prepared, task: Task) -> None:
        """Train and measure at every rate that has not been."""
        from bmae_lightning.encoder.vocabulary import Vocabulary

        missing = [rate for rate in self.lr if not (_directory(context, task, rate) / RESULT).is_file()]
        if len(missing) < len(self.lr):
            print_once(f"{context.title}: {task.name}: {len(self.lr) - len(missing)} of {len(self.lr)} rates are done")
        if not missing:
            return
        vocabulary = Vocabulary(prepared.tokenizer())
        found = {split: self.source.read(task, split) for split in self.limits}
        texts = {
            split: self._texts(self._some(found[split].examples, limit), prepared, vocabulary)
            for split, limit in self.limits.items()
        }
        print_once(f"{context.title}: {task.name}: {_counts(task, found, texts)}")
        for rate in missing:
            self._train(context, prepared, task, rate, texts, vocabulary)

    def _train(
        self, context: Context, prepared: Prepared, task: Task, rate: float, texts: dict[str, LabelledTexts],
        vocabulary: Vocabulary,
    ) -> None:  # fmt: skip
        import torch

        from bmae_lightning.evaluation.glue.classifier import Classifier
        from bmae_lightning.lit.classifier import ClassifierModule, predict

        torch.manual_seed(self.seed)
        encoder = start_encoder(context, self.encoder, vocabulary, prepared.passages().tokenizer_digest)
        model = Classifier(encoder, 1 if task.grades else 2)
        train, dev = texts["train"], texts["dev"]
        steps = self.steps_over(len(train))
        module = ClassifierModule(model, self.optimisation(steps, rate))
        directory = _directory(context, task, rate)
        directory.mkdir(parents=True, exist_ok=True)
        label = f"{context.title}: {task.name} at {rate:g}"
        trainer = self.fit(module, self.data(train, len(train), steps), [], directory, label, "examples")
        if process_rank() == 0:
            device = str(trainer.strategy.root_device)
            scores = glue_scores(task, predict(model, dev, 4 * self.batch_size, device), dev.labels)
            print_once(f"{label}: " + ", ".join(f"{name} {value:.3f}" for name, value in scores.items()))
            write_json(directory / RESULT, {"lr": rate, "train": len(train), "dev": len(dev), "scores": scores})
            shutil.rmtree(directory / "checkpoints", ignore_errors=True)

    def _best(self, context: Context, task: Task) -> dict[str, Any]:
        """The result of the rate with the highest mean of the task's measures, and the scores at every rate."""
        results = [read_json(_directory(context, task, rate) / RESULT) for rate in self.lr]
        best = max(results, key=lambda result: mean_score([result["scores"]]))
        return best | {"by_lr": {f"{result['lr']:g}": result["scores"] for result in results}}

    def _some(self, examples: list[Example], limit: int | None) -> list[Example]:
        """At most `limit` of them, drawn by the seed."""
        from bmae_lightning.lit.data import item_order

        if limit is None or limit >= len(examples):
            return examples
        return [examples[row] for row in sorted(item_order(len(examples), self.seed, 0)[:limit])]

    def _texts(self, examples: list[Example], prepared: Prepared, vocabulary: Vocabulary) -> LabelledTexts:
        from bmae_lightning.lit.classifier import LabelledTexts

        tokenizer = ContentTokenizer(prepared.tokenizer())

        def pieces(texts: list[str]) -> list[np.ndarray]:
            made = tokenizer.pieces(texts)
            return np.split(made.tokens, np.cumsum(made.lengths)[:-1])

        first = pieces([example.first for example in examples])
        second = None if examples[0].second is None else pieces([str(example.second) for example in examples])
        labels = np.array([example.label for example in examples], dtype=np.float32)
        return LabelledTexts(first, second, labels, vocabulary, self.length)


def scores_table(results: dict[str, dict[str, Any]], mean: float) -> Table:
    """One row: the measures of every task at its best rate, on dev; results: task -> its entry of metrics.json."""
    columns, values = [""], [""]
    for task, found in results.items():
        for name, value in found["scores"].items():
            columns.append(Column(name, ".3f", True, f"{task}\n{found['dev']:,} examples"))
            values.append(value)
    rates = max(len(found["by_lr"]) for found in results.values())
    chosen = f" at the best of {rates} learning rates on the same examples" if rates > 1 else ""
    note = f"Measured on dev, after fine-tuning{chosen}."
    return Table("Understanding (GLUE)", [*columns, Column(MEAN, ".3f", True)], [[*values, mean]], notes=[note])


def _directory(context: Context, task: Task, rate: float) -> Path:
    return context.directory / "runs" / f"{task.name}-{rate:g}"


def _counts(task: Task, found: dict[str, Examples], texts: dict[str, LabelledTexts]) -> str:
    """How many examples are used, how many lines were left out, and the published numbers where they differ."""
    said = " and ".join(f"{len(texts[split]):,} {split}" for split in texts) + " examples"
    if left_out := sum(part.left_out for part in found.values()):
        said += f", {left_out} broken lines left out"
    there = tuple(len(part.examples) for part in found.values())
    if there != task.published:
        said += f" (the files have {there[0]:,} and {there[1]:,}, published are {task.published[0]:,} and "
        said += f"{task.published[1]:,})"
    elif there != tuple(map(len, texts.values())):
        said += f" of {there[0]:,} and {there[1]:,}"
    return said
