"""Fine-tune a dual encoder with in-batch and hard negatives: every retriever of the ladder (docs/finetuning.md §2).

Retriever 1 gets BM25's negatives, Retriever 2 mined ones, the distilled retriever a re-ranker's scores as well.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from bmae_lightning.corpus.tokens.store import TokenStore
from bmae_lightning.encoder.checkpoint import shape_of
from bmae_lightning.evaluation.measure.ranking import TRAIN
from bmae_lightning.evaluation.measure.trec import Qrels, Run, read_run
from bmae_lightning.lit.metrics_file import read_metrics
from bmae_lightning.retrieval.grad_cache import GradCache
from bmae_lightning.retrieval.negatives.source import Groups
from bmae_lightning.retrieval.retriever_config import RetrieverConfig, check_similarity
from bmae_lightning.runtime.checks import at_least
from bmae_lightning.runtime.cost import READ, TRAINED, Cost, Sizes
from bmae_lightning.runtime.errors import BadInput
from bmae_lightning.runtime.process import print_once, process_rank
from bmae_lightning.runtime.stage import Context
from bmae_lightning.stage.initial_weights import start_retriever, tell_lacks
from bmae_lightning.stage.mined_negatives import Mined, TrainsOnGroups
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.refresh import Refresh, Rounds
from bmae_lightning.stage.validation import Validation

if TYPE_CHECKING:
    from bmae_lightning.lit.retriever import RetrieverBatches, RetrieverModule
    from bmae_lightning.lit.validation import Looks
    from bmae_lightning.retrieval.loss.loss import RetrieverLoss
    from bmae_lightning.retrieval.representation.pooled import PooledRepresentation
    from bmae_lightning.retrieval.reranking.teacher_scores import TeacherScores


@dataclass(kw_only=True)
class TrainRetriever(TrainsOnGroups):
    """Writes retriever/ (Hugging Face format with tokenizer and record) and metrics.jsonl.

    Args:
        representation: what becomes of the encoder's states.
        losses: by name; what is minimised is their weighted sum.
        similarity: `dot` or `cos`.
        temperature: similarities are divided by it.
        temperature_warmup: steps (below 1: share of all) in which it falls from 1 to that value.
        query_length, passage_length: word pieces with [CLS] and [SEP].
        shared: whether one encoder serves queries and passages.
        segments: whether text behind the [SEP] after a title has token type 1.
        grad_cache: encodes in chunks.
        validation: measures the retriever while it is trained.
        refresh: ranks the corpus for new hard negatives while it is trained.
    """

    representation: PooledRepresentation
    similarity: str
    temperature: float
    query_length: int
    passage_length: int
    losses: dict[str, RetrieverLoss] = field(default_factory=dict)
    temperature_warmup: float = 0.0
    shared: bool = True
    segments: bool = False
    grad_cache: GradCache = field(default_factory=GradCache)
    validation: Validation = field(default_factory=Validation)
    refresh: Refresh = field(default_factory=Refresh)

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, train_group_size=self.train_group_size)
        if not self.losses:
            raise ValueError("losses is empty: a retriever needs at least one, as losses: [contrastive]")
        if self.refresh.on and self.train_group_size == 1:
            raise ValueError(
                "refresh mines hard negatives, and with train_group_size=1 none is drawn; use a larger one"
            )
        check_similarity(self.similarity, self.representation)
        self._check_temperature()

    def _check_temperature(self) -> None:
        from bmae_lightning.retrieval.loss.loss import check_temperature

        check_temperature(self.temperature, self.temperature_warmup)

    @property
    def distils(self) -> str | None:
        """The first loss that reads a teacher's scores."""
        return next((name for name, loss in self.losses.items() if loss.needs_teacher), None)

    def preflight(self, splits: list[str]) -> None:
        self.validation.preflight(self.name, splits)
        super().preflight(splits)

    def check_inputs(self, inputs: Mapping[str, Any]) -> None:
        super().check_inputs(inputs)
        margin, scores = self.negatives.margin, inputs.get("scores")
        if not scores:
            reader = f"losses.{self.distils}" if self.distils else "negatives.margin"
            if self.distils or margin is not None:
                raise BadInput(
                    f"{self.name}.{reader} needs a teacher's scores: set {self.name}.inputs.scores to the score stage"
                )
            return
        options = getattr(scores, "config", {})
        for name in ("depth", "least") if self.negatives.needs_run else ():
            if (scored := options.get(name)) is not None and scored < (wanted := getattr(self.negatives, name)):
                raise BadInput(
                    f"{self.name}.negatives.{name}={wanted}, but {scores.stage}.{name}={scored}: the passages below "
                    f"would have no teacher score; use the same {name}"
                )
        if self.refresh.on:
            raise BadInput(
                f"{self.name}.refresh mines new negatives, which {scores.stage} has not scored: set "
                f"{self.name}.refresh.every_steps and every_epochs to null, or leave out {self.name}.inputs.scores, "
                "the loss that distils and negatives.margin"
            )
        if not self.distils and margin is None:
            raise BadInput(
                f"{self.name}.inputs.scores is given, but no loss of {self.name}.losses distils and negatives.margin "
                "is null: nothing would read it"
            )

    def cost(self, sizes: Sizes, inputs: Mapping[str, Any]) -> Cost:
        network, queries = shape_of(self.encoder), sizes.judged([TRAIN]) * self.train_queries.share
        steps, length = self.estimated_steps(queries), sizes.tokens(self.passage_length)
        passages, weights = steps * self.batch_size * self.train_group_size, network.body
        weights += network.head * bool(self.representation.lexical)
        learning = TRAINED + READ * (self.grad_cache.chunk is not None)
        flops = learning * (steps * self.batch_size * self.query_length + passages * length) * weights
        encoded = self.refresh.rounds(steps, queries, self.batch_size) * sizes.passages
        disk = network.bytes * (1 if self.shared else 2)
        return Cost(0, 0, steps, passages, encoded, flops + READ * encoded * length * weights, disk)

    def run(self, context: Context) -> None:
        import torch

        from bmae_lightning.encoder.vocabulary import Vocabulary
        from bmae_lightning.lit.retriever import RetrieverBatches, RetrieverModule
        from bmae_lightning.retrieval.dual_encoder import save_dual_encoder

        prepared = Prepared(context.input("corpus"))
        vocabulary = Vocabulary(prepared.tokenizer())
        torch.manual_seed(self.seed)
        stores = prepared.queries(), prepared.passages()
        config = self._config(stores[1].tokenizer_digest)
        model = start_retriever(context, self.encoder, vocabulary, self.representation, config)
        tell_lacks(context, prepared, model.encoder, self.segments)
        mined = self.mined(context)
        split, looked_at = self.validation.choose(prepared, self.seed, context.title, self.train_queries)
        held_out = looked_at if split == TRAIN else {}
        scored = bool(context.inputs.get("scores"))
        groups = self.groups(prepared.qrels(TRAIN), stores, mined, held_out, scored)
        teacher = self._teacher(context, stores, groups)
        self._fit_batch(context.title, groups)
        negatives = self.batch_size * self.train_group_size - 1
        self.announce(context.title, groups, f"{negatives:,} negatives per query in a step", len(held_out))
        collate = RetrieverBatches(
            groups, *stores, vocabulary, self.query_length, self.passage_length,
            teacher,
        )  # fmt: skip
        steps = self.steps_over(len(groups))
        module = RetrieverModule(
            model, self.losses, self.train_group_size, self.temperature, self.optimisation(steps),
            self.temperature_warmup, self.grad_cache,
        )  # fmt: skip
        looks = self._looks(context, prepared, split, looked_at, mined, steps)
        rounds = Rounds(self.refresh, context.directory, context.title, prepared, config)
        if not self._fit(context, module, collate, rounds, looks):
            return
        if looks:
            looks.finish(model, context.title)
        if process_rank() == 0:
            save_dual_encoder(model.cpu(), config, prepared.tokenizer_directory, context.directory / "retriever")
            self._tell_known(context)
            self.write_results(context, **({"kept_step": looks.best_step} if looks and looks.keep_best else {}))

    def _fit_batch(self, title: str, groups: Groups) -> None:
        """Make the batch smaller where it would hold a query twice, as its own negative, and say so.

        Raises:
            BadInput: there are fewer queries than devices and accumulated batches.
        """
        queries = len(set(groups.query_rows))
        if queries >= self.batch_size:
            return
        from bmae_lightning.lit.fit import shares_of

        share = shares_of(self.trainer, title)
        if queries < share:
            raise BadInput(
                f"{title}: {queries} training queries cannot be shared out among devices x "
                f"trainer.accumulate_grad_batches = {share}, each of them once in a step; use fewer"
            )
        batch_size = queries // share * share
        print_once(
            f"{title}: batch_size={self.batch_size} becomes {batch_size}: with {queries} training queries a larger "
            "batch would hold a query twice, as its own negative"
        )
        self.batch_size = batch_size

    def _config(self, tokenizer: str) -> RetrieverConfig:
        names = ("similarity", "query_length", "passage_length", "shared", "segments")
        options = {name: getattr(self, name) for name in names}
        return RetrieverConfig(tokenizer=tokenizer, **options, **self.representation.record())

    def _tell_known(self, context: Context) -> None:
        """Print how many of a query's negatives were labelled positives of it, and whether the losses left them out."""
        from bmae_lightning.lit.retriever import KNOWN

        found = [line[KNOWN] for line in read_metrics(context.directory / "metrics.jsonl") if KNOWN in line]
        if any(found):
            masked = any(loss.needs_positives for loss in self.losses.values())
            print_once(
                f"{context.title}: {sum(found) / len(found):.3g} other passages of a step were labelled positives of a "
                f"query on average, {'left out of' if masked else 'kept among'} its negatives (mask_known_positives)"
            )

    def _teacher(self, context: Context, stores: tuple[TokenStore, TokenStore], groups: Groups) -> TeacherScores | None:
        """The teacher's scores for the losses; `groups` loses positives and negatives that the teacher rules out."""
        from bmae_lightning.retrieval.reranking.teacher_scores import FILE, TeacherScores

        if not context.inputs.get("scores"):
            return None
        teacher = TeacherScores(context.input("scores") / FILE, *stores)
        if self.positives == "answers":
            teacher.choose_positives(groups)
        if (margin := self.negatives.margin) is not None:
            gone = teacher.denoise(groups, margin)
            print_once(f"{context.title}: {gone:,} negatives within {margin} of a positive's score left out")
        if not self.distils:
            return None
        teacher.check(groups)
        return teacher

    def _looks(
        self, context: Context, prepared: Prepared, split: str | None, looked_at: Qrels, mined: Mined | None, steps: int
    ) -> Looks | None:
        """What measures the retriever while it is trained, None for nothing."""
        if not looked_at:
            return None
        ranking = context.inputs.get("ranking")
        path = ranking and ranking / f"run.{split}.trec"
        if split == TRAIN and mined:
            run = mined.found
        else:
            run = read_run(path) if path and path.is_file() else Run()
        return self.validation.callback(
            looked_at, run, prepared, self.query_length, self.passage_length, self.seed, steps,
            context.directory / "checkpoints",
        )  # fmt: skip

    def _fit(
        self, context: Context, module: RetrieverModule, collate: RetrieverBatches, rounds: Rounds, looks: Looks | None
    ) -> bool:
        """Train segment by segment, each with the hard negatives of its own round.

        False in a process that was asked to stop while it mined.
        """
        from bmae_lightning.lit.resume import newest_checkpoint, step_of

        groups, steps = collate.groups, module.optimisation.steps
        ends = self.refresh.ends(steps, len(groups), self.batch_size)
        if self.refresh.on and len(ends) == 1:
            print_once(f"{context.title}: refresh: the {steps} steps end before the first new ranking is due")
        begun = step_of(newest_checkpoint(context.directory / "checkpoints", module))
        if process_rank() == 0:
            rounds.forget(1 + sum(end <= begun for end in ends))
        with self.logger.of(context) as loggers:
            for number, end in enumerate(ends):
                if end < begun or (looks and looks.stopped):
                    continue
                if number and end > begun and not rounds.renew(number, self.trainer, module.model, groups):
                    return False
                data = self.data(collate, len(groups), end, groups.query_rows)
                callbacks = [looks] if looks else []
                self.fit(module, data, loggers, context.directory, context.title, "queries", callbacks)
        return True
