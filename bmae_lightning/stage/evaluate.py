"""Index the corpus with a retriever of this run and rank all judged queries.

The same search over the training queries is mining: its ranking holds the hard negatives of the next rung.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from bmae_lightning.evaluation.measure.ranking import TRAIN
from bmae_lightning.retrieval.search import check_index
from bmae_lightning.runtime.cost import Cost, Sizes
from bmae_lightning.runtime.process import print_once
from bmae_lightning.runtime.stage import Context, require_splits
from bmae_lightning.stage.initial_weights import network_of
from bmae_lightning.stage.prepared import Prepared
from bmae_lightning.stage.rank import Ranker, RankingStage, Search
from bmae_lightning.stage.rankers import DualEncoderRanker, Encoding, encoding_cost


@dataclass(kw_only=True)
class Evaluate(RankingStage, Encoding):
    """Also writes passages.npy: the vectors, with a lexical part in files beside it."""

    def preflight(self, splits: list[str]) -> None:
        require_splits(f"{self.name}.train_depth", [TRAIN] * bool(self.train_depth), splits)
        super().preflight(splits)

    def check_inputs(self, inputs: Mapping[str, Any]) -> None:
        trained = getattr(inputs.get("retriever"), "config", {})
        check_index(self.index, (trained.get("representation") or {}).get("lexical", 0))

    def cost(self, sizes: Sizes, inputs: Mapping[str, Any]) -> Cost:
        trained = inputs["retriever"].config
        return encoding_cost(network_of(trained), sizes, trained["passage_length"], trained["representation"])

    def searches(self, context: Context, prepared: Prepared) -> list[Search]:
        found, passages = super().searches(context, prepared), len(prepared.passages())
        for search in found:
            if search.depth > passages and not search.done:
                key = "depth" if search.split in self.splits else "train_depth"
                print_once(
                    f"{context.title}: {key}={search.depth:,} is more than there are passages; all {passages:,} are "
                    "ranked"
                )
        return found

    def make_ranker(self, context: Context, prepared: Prepared) -> Ranker:
        from bmae_lightning.retrieval.dual_encoder import load_dual_encoder

        model, config = load_dual_encoder(context.input("retriever") / "retriever")
        passages, queries = prepared.passages(), prepared.queries()
        config.require(context.input("retriever"), {}, tokenizer=passages.tokenizer_digest)
        check_index(self.index, model.representation.lexical)
        return DualEncoderRanker(
            context.title, context.directory, model, config, passages, lambda search: (queries, search.queries), self
        )
