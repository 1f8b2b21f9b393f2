"""Fine-tune a dual encoder with in-batch and hard negatives: every retriever of the ladder (finetuning §2).

Retriever 1 gets BM25's negatives, Retriever 2 mined ones, the distilled retriever a re-ranker's scores as well.
"""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bmae_lightning.corpus.collection import Collection
from bmae_lightning.encoder.pretrained import PretrainedEncoder
from bmae_lightning.encoder.scratch import ScratchEncoder
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.evaluation.measure.ranking import TRAIN
from bmae_lightning.evaluation.measure.trec import Run, read_run
from bmae_lightning.lit.data import TrainingData
from bmae_lightning.lit.fit import check_trainer, fit
from bmae_lightning.lit.metrics import read_metrics
from bmae_lightning.lit.optimisation import AdamW, LinearSchedule, number_of_steps
from bmae_lightning.lit.resume import newest_checkpoint, step_of
from bmae_lightning.lit.retriever import RetrieverBatches, RetrieverModule
from bmae_lightning.report.tracking.loggers import Tracking
from bmae_lightning.retrieval.dual_encoder import check_similarity, save_dual_encoder
from bmae_lightning.retrieval.grad_cache import GradCache
from bmae_lightning.retrieval.loss.contrastive import check_contrastive
from bmae_lightning.retrieval.loss.distillation import Distillation
from bmae_lightning.retrieval.negatives.positives import check_positives
from bmae_lightning.retrieval.negatives.source import (
    QueryShare,
    RandomNegatives,
    RankedNegatives,
    check_ids,
    relevant_of,
)
from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
from bmae_lightning.retrieval.reranking.teacher_scores import FILE, TeacherScores
from bmae_lightning.retrieval.retriever_config import RetrieverConfig
from bmae_lightning.runtime.configuration import build
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import write_json
from bmae_lightning.runtime.process import print_once, process_rank
from bmae_lightning.runtime.stage import Context, Stage, require_splits
from bmae_lightning.stage.initial_weights import start_retriever
from bmae_lightning.stage.mined_negatives import read_mined, training_groups
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.refresh import Refresh, Rounds
from bmae_lightning.stage.validation import Validation


class Finetune(Stage):
    """Writes retriever/ (Hugging Face format with tokenizer and record) and metrics.jsonl.

    The arguments are the options of `conf/stages/retriever1.yaml`.
    """

    def __init__(
        self,
        encoder: PretrainedEncoder | ScratchEncoder,
        representation: PooledRepresentation,
        negatives: RankedNegatives | RandomNegatives,
        optim: AdamW,
        schedule: LinearSchedule,
        trainer: partial,
        logger: Tracking,
        seed: int,
        similarity: str,
        temperature: float,
        query_length: int,
        passage_length: int,
        batch_size: int,
        train_group_size: int,
        lr: float,
        warmup: float,
        weight_decay: float,
        checkpoint: dict[str, Any],
        steps: int | None = None,
        epochs: float | None = None,
        workers: int = 0,
        log_every: int = 1,
        shared: bool = True,
        segments: bool = False,
        form: str = "plain",
        temperature_warmup: float = 0.0,
        contrastive_grad_scale: float = 1.0,
        mask_known_positives: bool = False,
        positives: str = "labelled",
        grad_cache: GradCache | None = None,
        distillation: Distillation | None = None,
        validation: Validation | None = None,
        refresh: Refresh | None = None,
        train_queries: QueryShare | None = None,
    ) -> None:
        check_similarity(similarity, representation)
        check_contrastive(form, temperature, temperature_warmup)
        check_positives(positives)
        if train_group_size < 1:
            raise ValueError(f"train_group_size counts the positive, so it is at least 1, got {train_group_size}")
        number_of_steps(steps, epochs, 1, 1)
        self.encoder, self.representation, self.negatives, self.optim = encoder, representation, negatives, optim
        self.schedule, self.trainer, self.logger, self.seed = schedule, trainer, logger, seed
        self.similarity, self.temperature = similarity, temperature
        self.query_length, self.passage_length = query_length, passage_length
        self.batch_size, self.train_group_size, self.lr, self.warmup = batch_size, train_group_size, lr, warmup
        self.weight_decay, self.checkpoint, self.steps, self.epochs = weight_decay, checkpoint, steps, epochs
        self.workers, self.log_every, self.shared, self.segments = workers, log_every, shared, segments
        self.mask_known_positives, self.positives = mask_known_positives, positives
        self.train_queries = train_queries or QueryShare()
        self.validation, self.refresh = validation or Validation(), refresh or Refresh()
        if self.refresh.on and train_group_size == 1:
            raise ValueError(
                "refresh mines hard negatives, and with train_group_size=1 none is drawn; use a larger one"
            )
        self.loss_options = {
            "form": form,
            "temperature_warmup": temperature_warmup,
            "contrastive_grad_scale": contrastive_grad_scale,
            "mask_known_positives": mask_known_positives,
            "grad_cache": grad_cache,
            "distillation": distillation,
        }

    def preflight(self, splits: list[str]) -> None:
        check_trainer(self.trainer, self.batch_size, self.name)
        require_splits(self.name, [TRAIN], splits)
        self.validation.preflight(self.name, splits)

    def check_inputs(self, inputs: Mapping[str, Any]) -> None:
        check_ranking(self.name, self.negatives, inputs)
        distils = self.loss_options["distillation"] is not None
        if distils and not inputs.get("scores"):
            raise BadInput(
                f"{self.name}.distillation needs a teacher's scores: set {self.name}.inputs.scores to the score stage"
            )
        scored = getattr(inputs.get("scores"), "config", {}).get("depth")
        if scored is not None and self.negatives.needs_run and scored < self.negatives.depth:
            raise BadInput(
                f"{self.name}.negatives.depth={self.negatives.depth}, but {inputs['scores'].stage}.depth={scored}: the "
                "passages below would have no teacher score; use the same depth"
            )
        if self.negatives.margin is not None and not inputs.get("scores"):
            raise BadInput(
                f"{self.name}.negatives.margin needs a teacher's scores: set {self.name}.inputs.scores to the score stage"
            )
        if self.refresh.on and inputs.get("scores"):
            raise BadInput(
                f"{self.name}.refresh mines new negatives, which {inputs['scores'].stage} has not scored: set "
                f"{self.name}.refresh.every_steps and every_epochs to null, or {self.name}.inputs.scores, distillation and "
                "negatives.margin"
            )
        if inputs.get("scores") and not distils and self.negatives.margin is None:
            raise BadInput(
                f"{self.name}.inputs.scores is given, but distillation and negatives.margin are null: nothing would read it"
            )

    def check_corpus(self, corpus: Path) -> None:
        check_foreign(self.negatives, corpus)

    def run(self, context: Context) -> None:
        prepared = Prepared(context.input("corpus"))
        vocabulary = Vocabulary(prepared.tokenizer())
        torch.manual_seed(self.seed)
        passages, queries = prepared.passages(), prepared.queries()
        config = RetrieverConfig(
            tokenizer=passages.tokenizer_digest,
            similarity=self.similarity,
            query_length=self.query_length,
            passage_length=self.passage_length,
            shared=self.shared,
            segments=self.segments,
            **self.representation.record(),
        )
        model = start_retriever(context, self.encoder, vocabulary, self.representation, config)
        ranking = context.inputs.get("ranking")
        mined = read_mined(ranking) if ranking and self.negatives.needs_run else None
        split, looked_at = self.validation.choose(prepared, self.seed, context.title, self.train_queries)
        held_out = looked_at if split == TRAIN else {}
        share = self.train_queries.of(prepared.qrels(TRAIN))
        qrels = {query: marks for query, marks in share.items() if query not in held_out}
        scores = context.inputs.get("scores")
        groups = training_groups(
            qrels,
            queries,
            passages,
            self.negatives,
            mined,
            self.positives,
            self.train_group_size,
            self.seed,
            scored=bool(scores),
        )
        teacher = None
        if scores:
            teacher = TeacherScores(scores / FILE, queries, passages)
            if self.positives == "answers":
                teacher.choose_positives(groups)
            if self.negatives.margin is not None:
                gone = teacher.denoise(groups, self.negatives.margin)
                print_once(
                    f"{context.title}: {gone:,} negatives within {self.negatives.margin} of a positive's score left out"
                )
            if self.loss_options["distillation"] is None:
                teacher = None
            else:
                teacher.check(groups)
        steps = number_of_steps(self.steps, self.epochs, len(groups), self.batch_size)
        dropped = f", {groups.dropped:,} dropped" if groups.dropped else ""
        dropped += f", {len(held_out):,} held out for validation" if held_out else ""
        print_once(
            f"{context.title}: {len(groups):,} training queries{dropped}, {groups.short:,} with fewer than "
            f"{self.train_group_size - 1} hard negatives (filled at random), "
            f"{self.batch_size * self.train_group_size - 1:,} negatives per query in a step"
        )
        collate = RetrieverBatches(
            groups, queries, passages, vocabulary, self.query_length, self.passage_length, self.mask_known_positives,
            teacher,
        )  # fmt: skip
        module = RetrieverModule(
            model,
            self.train_group_size,
            self.temperature,
            self.optim,
            self.schedule,
            self.lr,
            self.weight_decay,
            self.warmup,
            steps,
            **self.loss_options,
        )
        looks = None
        if looked_at:
            path = ranking and ranking / f"run.{split}.trec"
            if split == TRAIN and mined:
                run = mined.found
            else:
                run = read_run(path) if path and path.is_file() else Run()
            looks = self.validation.callback(
                looked_at, run, prepared, self.query_length, self.passage_length, self.seed, steps,
                context.directory / "checkpoints",
            )  # fmt: skip
        ends = self.refresh.ends(steps, len(groups), self.batch_size)
        if self.refresh.on and len(ends) == 1:
            print_once(f"{context.title}: refresh: the {steps} steps end before the first new ranking is due")
        rounds = Rounds(self.refresh, context.directory, context.title, prepared, config)
        begun = step_of(newest_checkpoint(context.directory / "checkpoints", module))
        if process_rank() == 0:
            rounds.forget(1 + sum(end <= begun for end in ends))
        with self.logger.of(context) as loggers:
            for number, end in enumerate(ends):
                if end < begun or (looks and looks.stopped):
                    continue
                if number and end > begun and not rounds.renew(number, self.trainer, model, groups):
                    return
                data = TrainingData(collate, len(groups), self.batch_size, end, self.seed, self.workers)
                fit(
                    self.trainer, module, data, loggers, context.directory, context.title,
                    self.log_every, self.checkpoint, "queries", [looks] if looks else [],
                )  # fmt: skip
        if looks:
            looks.finish(model, context.title)
        if process_rank() == 0:
            save_dual_encoder(model.cpu(), config, prepared.tokenizer_directory, context.directory / "retriever")
            results = read_metrics(context.directory / "metrics.jsonl")[-1]
            if looks and looks.keep_best:
                results["kept_step"] = looks.best_step
            write_json(context.directory / "metrics.json", results)


def check_ranking(name: str, negatives: RankedNegatives | RandomNegatives, inputs: Mapping[str, object]) -> None:
    """Raise BadInput where hard negatives shall come from a ranking of training queries that nobody makes."""
    ranking = inputs.get("ranking")
    if negatives.needs_run and not ranking:
        raise BadInput(f"{name}.inputs.ranking is empty: name the stage whose ranking holds the hard negatives")
    if negatives.needs_run and (corpus := build(getattr(ranking, "config", {}).get("corpus"), "corpus")):
        given = corpus.negatives(TRAIN) if isinstance(corpus, Collection) else iter(())
        if next(given, None) is None:
            raise BadInput(
                f"{name}.inputs.ranking={ranking.stage}: the corpus comes without hard negatives of its own; name a stage "
                "that ranks the training queries, such as bm25"
            )
    if negatives.needs_run and not getattr(ranking, "config", {}).get("train_depth", 1):
        stage = getattr(ranking, "stage", "evaluate")
        raise BadInput(
            f"{name} takes hard negatives from {stage}, which does not search for training queries: set "
            f"{stage}.train_depth=200, or choose a recipe with this rung (recipe=ladder)"
        )


def check_foreign(negatives: RankedNegatives | RandomNegatives, corpus: Path) -> None:
    """Raise BadInput where hard negatives come from a file of the user's that does not fit the prepared corpus."""
    if negatives.foreign:
        prepared = Prepared(corpus)
        check_ids(negatives.of(None, relevant_of(prepared.qrels(TRAIN))), prepared.passages(), negatives.path)
