"""Train a cross-encoder on what the best retriever so far finds: re-ranker and teacher of the distilled retriever."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.corpus.tokens.wordpiece import tokenizer_digest
from bmae_lightning.encoder.checkpoint import find_checkpoint, read_config
from bmae_lightning.encoder.tokenizer import load_tokenizer
from bmae_lightning.evaluation.measure.ranking import TRAIN
from bmae_lightning.retrieval.negatives.source import Groups
from bmae_lightning.runtime.cost import READ, TRAINED, Cost, Sizes
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.files import read_json, write_json
from bmae_lightning.runtime.process import print_once, process_rank
from bmae_lightning.runtime.stage import Context
from bmae_lightning.stage.initial_weights import network_of, start_encoder
from bmae_lightning.stage.mined_negatives import TrainsOnGroups
from bmae_lightning.stage.prepared import Prepared

if TYPE_CHECKING:
    from bmae_lightning.retrieval.reranking.cross_encoder import CrossEncoder
    from bmae_lightning.retrieval.reranking.pair_texts import PairLayout
    from bmae_lightning.retrieval.reranking.score_pairs import PairScorer

DIRECTORY, RECORD, TOKENS = "reranker", "reranker_spec.json", "tokens"


@dataclass(kw_only=True)
class TrainReranker(TrainsOnGroups):
    """Writes reranker/ (Hugging Face format with tokenizer and record) and metrics.jsonl; where the backbone's word
    pieces are not the encoder's also tokens/, the corpus in them.

    The fields are the options of `conf/stages/reranker.yaml`.
    """

    hub = ("backbone",)

    length: int
    backbone: str | None = None
    temperature: float = 1.0
    forward_factor: int = 1
    r_drop: bool = False
    title_separator: str | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        size, factor = self.train_group_size, self.forward_factor
        if self.length < 5:
            raise ValueError(f"length must leave room for [CLS], two [SEP] and two word pieces (5), got {self.length}")
        if size < 2:
            raise ValueError(
                f"train_group_size counts the positive and at least one negative, so it is at least 2, got {size}"
            )
        if factor < 1 or size % factor or size // factor < 2:
            raise ValueError(
                f"forward_factor={factor} must divide train_group_size={size} and leave the positive and a negative"
            )
        if self.temperature <= 0:
            raise ValueError(f"temperature must be above 0, got {self.temperature}")

    def preflight(self, splits: list[str]) -> None:
        from bmae_lightning.encoder.backbone.backbone import limit_of
        from bmae_lightning.retrieval.reranking.pair_texts import pair_layout

        super().preflight(splits)
        if self.backbone is None:
            limit, what = self.encoder.dimensions()[1], "the encoder"
        else:
            directory, what, label = self._backbone(self.name), self.backbone, f"{self.name}.backbone={self.backbone}"
            pair_layout(load_tokenizer(directory), label)
            limit = limit_of(read_config(directory, label))
        if limit is not None and self.length > limit:
            raise BadInput(f"{self.name}.length={self.length}: {what} has only {limit} positions")

    def check_inputs(self, inputs: Mapping[str, object]) -> None:
        super().check_inputs(inputs)
        if self.negatives.margin is not None:
            raise BadInput(f"{self.name}.negatives.margin: scores come from the re-ranker itself; set it to null")
        if self.backbone is not None and inputs.get("encoder"):
            raise BadInput(
                f"{self.name}.backbone={self.backbone} and {self.name}.inputs.encoder are both given: a re-ranker "
                "starts from one of them; set the other to null"
            )

    def cost(self, sizes: Sizes, inputs: Mapping[str, Any]) -> Cost:
        steps = self.estimated_steps(sizes.judged([TRAIN]) * self.train_queries.share)
        network, pairs = network_of(vars(self)), steps * self.batch_size * self.train_group_size
        learning = TRAINED * (1 + self.r_drop) / self.forward_factor + READ * (self.forward_factor > 1)
        flops = learning * pairs * sizes.tokens(self.length) * network.body
        return Cost(0, 0, steps, pairs, flops=flops, disk=network.bytes)

    def run(self, context: Context) -> None:
        import torch

        from bmae_lightning.lit.reranker import PairBatches, RerankerModule
        from bmae_lightning.retrieval.reranking.cross_encoder import save_cross_encoder
        from bmae_lightning.retrieval.reranking.pair_texts import PairTexts

        prepared = Prepared(context.input("corpus"))
        origin = prepared.tokenizer_directory if self.backbone is None else self._backbone(context.stage)
        tokenizer = load_tokenizer(origin)
        digest = tokenizer_digest(tokenizer)
        texts = self._stores(context, prepared, tokenizer, digest)
        torch.manual_seed(self.seed)
        model, layout = self._start(context, tokenizer, origin, digest)
        title_id = self._title_id(context, prepared, tokenizer)
        groups = self._groups(context, prepared)
        steps = self.steps_over(len(groups))
        collate = PairBatches(groups, PairTexts(*texts, layout, title_id), self.length)
        module = RerankerModule(
            model, self.optimisation(steps), self.train_group_size, self.temperature, self.forward_factor, self.r_drop
        )
        with self.logger.of(context) as loggers:
            data = self.data(collate, len(groups), steps)
            self.fit(module, data, loggers, context.directory, context.title, "queries")
        if process_rank() == 0:
            directory = context.directory / DIRECTORY
            save_cross_encoder(model.cpu(), tokenizer, directory)
            record = {"length": self.length, "tokenizer": digest, "layout": vars(layout), "title_id": title_id}
            write_json(directory / RECORD, record)
            self.write_results(context)

    def _stores(
        self, context: Context, prepared: Prepared, tokenizer: Any, digest: str
    ) -> tuple[TokenStore, TokenStore]:
        """Queries and passages in the word pieces of the model."""
        from bmae_lightning.retrieval.reranking.pair_texts import tokenise_again

        stores = prepared.queries(), prepared.passages()
        if digest == stores[1].tokenizer_digest:
            return stores
        print_once(f"{context.title}: {self.backbone} has word pieces of its own, the corpus is tokenised for it")
        return tokenise_again(prepared.source(), tokenizer, context.directory / TOKENS, stores, context.title)

    def _start(self, context: Context, tokenizer: Any, origin: Path, digest: str) -> tuple[CrossEncoder, PairLayout]:
        """The cross-encoder at the first step, and how it joins a pair."""
        from bmae_lightning.encoder.vocabulary import Vocabulary
        from bmae_lightning.retrieval.reranking.cross_encoder import cross_encoder_of, load_cross_encoder
        from bmae_lightning.retrieval.reranking.pair_texts import PairLayout, pair_layout

        if self.backbone is not None:
            label = f"{context.stage}.backbone={self.backbone}"
            layout = pair_layout(tokenizer, label)
            return load_cross_encoder(str(origin), len(tokenizer), self.encoder.dropout, label)[0], layout
        vocabulary = Vocabulary(tokenizer)
        layout = PairLayout(vocabulary.cls_id, vocabulary.sep_id, vocabulary.pad_id, vocabulary.separators)
        return cross_encoder_of(start_encoder(context, self.encoder, vocabulary, digest).masked_lm), layout

    def _title_id(self, context: Context, prepared: Prepared, tokenizer: Any) -> int | None:
        """The word piece that replaces the [SEP] between title and text, None where [SEP] stays."""
        if self.title_separator is None or prepared.record["title"] != "pair":
            return None
        title_id = tokenizer.get_vocab().get(self.title_separator)
        if title_id is None:
            print_once(
                f"{context.title}: {self.title_separator!r} is no word piece, [SEP] stays between title and text"
            )
        return title_id

    def _groups(self, context: Context, prepared: Prepared) -> Groups:
        stores = prepared.queries(), prepared.passages()
        groups = self.groups(prepared.qrels(TRAIN), stores, self.mined(context))
        size = self.train_group_size
        self.announce(context.title, groups, f"{size // self.forward_factor} of {size} passages trained on")
        return groups

    def _backbone(self, stage: str) -> Path:
        return find_checkpoint(str(self.backbone), key=f"{stage}.backbone")


def scoring_cost(trained: Mapping[str, Any], sizes: Sizes, pairs: float) -> Cost:
    """Of scoring so many pairs; trained: the options of the re-ranker's stage."""
    return Cost(encoded=pairs, flops=READ * pairs * sizes.tokens(trained["length"]) * network_of(trained).body)


def open_scorer(directory: Path, prepared: Prepared, batch_tokens: int) -> PairScorer:
    """The trained re-ranker in a stage's directory, ready to score pairs of the prepared corpus.

    Raises:
        BadInput: none there, or one whose word pieces this corpus was not split into.
    """
    from bmae_lightning.retrieval.reranking.cross_encoder import load_cross_encoder
    from bmae_lightning.retrieval.reranking.pair_texts import PairLayout, PairTexts, tokenised_again
    from bmae_lightning.retrieval.reranking.score_pairs import PairScorer

    checkpoint = directory / DIRECTORY
    record = read_json(checkpoint / RECORD)
    stores = prepared.queries(), prepared.passages()
    if record["tokenizer"] != stores[1].tokenizer_digest:
        stores = tokenised_again(directory / TOKENS, record["tokenizer"], stores)
    model: CrossEncoder = load_cross_encoder(str(checkpoint), stores[1].vocabulary_size)[0].eval()
    texts = PairTexts(*stores, PairLayout(**record["layout"]), record["title_id"])
    return PairScorer(model, texts, record["length"], batch_tokens)
