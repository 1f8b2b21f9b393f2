"""Train a cross-encoder on groups of the best retriever so far: the re-ranker, and the teacher of the distilled retriever."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from bmae_lightning.corpus.tokens.wordpiece import tokenizer_digest
from bmae_lightning.encoder.checkpoint import find_checkpoint
from bmae_lightning.encoder.pretrained import PretrainedEncoder
from bmae_lightning.encoder.scratch import ScratchEncoder
from bmae_lightning.encoder.tokenizer import load_tokenizer
from bmae_lightning.encoder.vocabulary import Vocabulary
from bmae_lightning.evaluation.measure.ranking import TRAIN
from bmae_lightning.lit.data import TrainingData
from bmae_lightning.lit.fit import check_trainer, fit
from bmae_lightning.lit.metrics import read_metrics
from bmae_lightning.lit.optimisation import AdamW, LinearSchedule, number_of_steps
from bmae_lightning.lit.reranker import PairBatches, RerankerModule
from bmae_lightning.report.tracking.loggers import Tracking
from bmae_lightning.retrieval.negatives.positives import check_positives
from bmae_lightning.retrieval.negatives.source import QueryShare, RandomNegatives, RankedNegatives
from bmae_lightning.retrieval.reranking.cross_encoder import (
    CrossEncoder,
    cross_encoder_of,
    load_cross_encoder,
    positions,
    read_config,
    save_cross_encoder,
)
from bmae_lightning.retrieval.reranking.pair_texts import (
    PairLayout,
    PairTexts,
    pair_layout,
    tokenise_again,
    tokenised_again,
)
from bmae_lightning.retrieval.reranking.score_pairs import PairScorer
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import read_json, write_json
from bmae_lightning.runtime.process import print_once, process_rank
from bmae_lightning.runtime.stage import Context, Stage, require_splits
from bmae_lightning.stage.initial_weights import start_encoder
from bmae_lightning.stage.mined_negatives import read_mined, training_groups
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.train_retriever import check_foreign, check_ranking

DIRECTORY, RECORD, TOKENS = "reranker", "reranker_spec.json", "tokens"


class TrainReranker(Stage):
    """Writes reranker/ (Hugging Face format with tokenizer and record) and metrics.jsonl, and tokens/, the corpus in the
    backbone's word pieces, where these are not the encoder's.

    The arguments are the options of `conf/stages/reranker.yaml`.
    """

    def __init__(
        self,
        encoder: PretrainedEncoder | ScratchEncoder,
        negatives: RankedNegatives | RandomNegatives,
        optim: AdamW,
        schedule: LinearSchedule,
        trainer: partial,
        logger: Tracking,
        seed: int,
        length: int,
        batch_size: int,
        train_group_size: int,
        lr: float,
        warmup: float,
        weight_decay: float,
        checkpoint: dict[str, Any],
        backbone: str | None = None,
        steps: int | None = None,
        epochs: float | None = None,
        temperature: float = 1.0,
        forward_factor: int = 1,
        r_drop: bool = False,
        title_separator: str | None = None,
        positives: str = "labelled",
        workers: int = 0,
        log_every: int = 1,
        train_queries: QueryShare | None = None,
    ) -> None:
        if length < 5:
            raise ValueError(f"length must leave room for [CLS], two [SEP] and two word pieces (5), got {length}")
        if train_group_size < 2:
            raise ValueError(
                "train_group_size counts the positive and at least one negative, so it is at least 2, got "
                f"{train_group_size}"
            )
        if forward_factor < 1 or train_group_size % forward_factor or train_group_size // forward_factor < 2:
            raise ValueError(
                f"forward_factor={forward_factor} must divide train_group_size={train_group_size} and leave the "
                "positive and a negative"
            )
        if temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {temperature}")
        number_of_steps(steps, epochs, 1, 1)
        check_positives(positives)
        self.encoder, self.backbone, self.negatives = encoder, backbone, negatives
        self.optim, self.schedule, self.trainer, self.logger, self.seed = optim, schedule, trainer, logger, seed
        self.length, self.batch_size, self.train_group_size, self.lr, self.warmup = (
            length,
            batch_size,
            train_group_size,
            lr,
            warmup,
        )
        self.weight_decay, self.checkpoint, self.steps, self.epochs = weight_decay, checkpoint, steps, epochs
        self.temperature, self.forward_factor, self.r_drop = temperature, forward_factor, r_drop
        self.workers, self.log_every, self.train_queries = workers, log_every, train_queries or QueryShare()
        self.positives, self.title_separator = positives, title_separator

    def preflight(self, splits: list[str]) -> None:
        check_trainer(self.trainer, self.batch_size, self.name)
        require_splits(self.name, [TRAIN], splits)
        if self.backbone is None:
            limit, what = self.encoder.dimensions()[1], "the encoder"
        else:
            directory, what, label = self._backbone(self.name), self.backbone, f"{self.name}.backbone={self.backbone}"
            pair_layout(load_tokenizer(directory), label)
            limit = positions(read_config(directory, label))
        if limit is not None and self.length > limit:
            raise BadInput(f"{self.name}.length={self.length}: {what} has only {limit} positions")

    def check_inputs(self, inputs: Mapping[str, object]) -> None:
        check_ranking(self.name, self.negatives, inputs)
        if self.negatives.margin is not None:
            raise BadInput(f"{self.name}.negatives.margin: scores come from the re-ranker itself; set it to null")
        if self.backbone is not None and inputs.get("encoder"):
            raise BadInput(
                f"{self.name}.backbone={self.backbone} and {self.name}.inputs.encoder are both given: a re-ranker starts "
                "from one of them; set the other to null"
            )

    def check_corpus(self, corpus: Path) -> None:
        check_foreign(self.negatives, corpus)

    def run(self, context: Context) -> None:
        prepared = Prepared(context.input("corpus"))
        label = f"{context.stage}.backbone={self.backbone}"
        origin = prepared.tokenizer_directory if self.backbone is None else self._backbone(context.stage)
        tokenizer = load_tokenizer(origin)
        queries, passages = stores = prepared.queries(), prepared.passages()
        if (digest := tokenizer_digest(tokenizer)) != passages.tokenizer_digest:
            print_once(f"{context.title}: {self.backbone} has word pieces of its own, the corpus is tokenised for it")
            stores = tokenise_again(
                prepared.source(), tokenizer, context.directory / TOKENS, (queries, passages), context.title
            )
        torch.manual_seed(self.seed)
        if self.backbone is not None:
            layout = pair_layout(tokenizer, label)
            model, _ = load_cross_encoder(str(origin), len(tokenizer), self.encoder.dropout, label)
        else:
            vocabulary = Vocabulary(tokenizer)
            layout = PairLayout(vocabulary.cls_id, vocabulary.sep_id, vocabulary.pad_id)
            model = cross_encoder_of(start_encoder(context, self.encoder, vocabulary, digest).masked_lm)
        title_id = None
        if self.title_separator is not None and prepared.record["title"] == "pair":
            title_id = tokenizer.get_vocab().get(self.title_separator)
            if title_id is None:
                print_once(
                    f"{context.title}: {self.title_separator!r} is no word piece, [SEP] stays between title and text"
                )
        ranking = context.inputs.get("ranking")
        mined = read_mined(ranking) if ranking and self.negatives.needs_run else None
        qrels = self.train_queries.of(prepared.qrels(TRAIN))
        groups = training_groups(
            qrels, queries, passages, self.negatives, mined, self.positives, self.train_group_size, self.seed
        )
        steps = number_of_steps(self.steps, self.epochs, len(groups), self.batch_size)
        print_once(
            f"{context.title}: {len(groups):,} training queries, {groups.short:,} with fewer than "
            f"{self.train_group_size - 1} hard negatives (filled at random), {self.train_group_size // self.forward_factor} "
            f"of {self.train_group_size} passages trained on"
        )
        collate = PairBatches(groups, PairTexts(*stores, layout, title_id), self.length)
        data = TrainingData(collate, len(groups), self.batch_size, steps, self.seed, self.workers)
        module = RerankerModule(
            model, self.train_group_size, self.temperature, self.forward_factor, self.r_drop, self.optim, self.schedule,
            self.lr,
            self.weight_decay, self.warmup, steps,
        )  # fmt: skip
        with self.logger.of(context) as loggers:
            fit(
                self.trainer, module, data, loggers, context.directory, context.title,
                self.log_every, self.checkpoint, "queries",
            )  # fmt: skip
        if process_rank() == 0:
            directory = context.directory / DIRECTORY
            save_cross_encoder(model.cpu(), tokenizer, directory)
            record = {"length": self.length, "tokenizer": digest, "layout": vars(layout), "title_id": title_id}
            write_json(directory / RECORD, record)
            write_json(context.directory / "metrics.json", read_metrics(context.directory / "metrics.jsonl")[-1])

    def _backbone(self, stage: str) -> Path:
        return find_checkpoint(str(self.backbone), key=f"{stage}.backbone")


def open_scorer(directory: Path, prepared: Prepared, batch_tokens: int) -> PairScorer:
    """The trained re-ranker in a stage's directory, ready to score pairs of the prepared corpus.

    Raises:
        BadInput: none there, or one whose word pieces this corpus was not split into.
    """
    checkpoint = directory / DIRECTORY
    record = read_json(checkpoint / RECORD)
    stores = prepared.queries(), prepared.passages()
    if record["tokenizer"] != stores[1].tokenizer_digest:
        stores = tokenised_again(directory / TOKENS, record["tokenizer"], stores)
    model: CrossEncoder = load_cross_encoder(str(checkpoint), stores[1].vocabulary_size)[0].eval()
    texts = PairTexts(*stores, PairLayout(**record["layout"]), record["title_id"])
    return PairScorer(model, texts, record["length"], batch_tokens)
